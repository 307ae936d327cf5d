// Work by name.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bench/peers/plugin.hpp"

namespace peers {

// Work with the memory of its inputs.
class OwnedWork {
 public:
  // Nothing where the name is none: see the table in work.cpp.
  static std::optional<OwnedWork> parse(std::string_view name);

  const Work& work() const { return work_; }
  Work with(Dtype dtype, int threads) const;
  std::vector<Dtype> dtypes() const;  // in which it is measured

  void make_inputs();  // the same numbers for the same name, always
  void drop_inputs() { memory_.clear(); }

 private:
  void describe();
  void add(std::string name, std::vector<std::int64_t> shape, float scale, float offset = 0);
  void add_linear(const std::string& name, std::int64_t out, std::int64_t in);

  Work work_;
  struct Range {
    float scale, offset;
  };
  std::vector<Range> ranges_;
  std::vector<Floats> memory_;
};

// What `./dev bench peers` measures.
const std::vector<std::string>& default_works();

}  // namespace peers
