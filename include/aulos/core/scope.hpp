// Where in a model the computation is: a stack of names that errors, profile and capture share.
#pragma once

#include <string>

#include "aulos/core/config.hpp"

namespace aulos::inline AULOS_ISA {

class ScopeStack {
 public:
  // `name` must outlive the scope (a literal); `index` < 0 means none. What is deeper than the stack is not named.
  void push(const char* name, Index index) noexcept {
    if (depth_ < capacity) levels_[depth_] = {name, index};
    ++depth_;
  }
  void pop() noexcept { --depth_; }
  bool empty() const noexcept { return depth_ == 0; }

  // "transformer_blocks.3.attn"
  std::string text() const {
    std::string path;
    for (int level = 0; level < depth_ && level < capacity; ++level) {
      if (level) path += '.';
      path += levels_[level].name;
      if (levels_[level].index >= 0) path += '.' + std::to_string(levels_[level].index);
    }
    return path;
  }

 private:
  static constexpr int capacity = 16;
  struct Level {
    const char* name = "";
    Index index = -1;
  };
  Level levels_[capacity];
  int depth_ = 0;
};

// One level of the stack for as long as it lives.
class Scope {
 public:
  Scope(ScopeStack& stack, const char* name, Index index = -1) noexcept : stack_(stack) { stack_.push(name, index); }
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;
  ~Scope() { stack_.pop(); }

 private:
  ScopeStack& stack_;
};

}  // namespace aulos::inline AULOS_ISA
