// Any bytes as a safetensors file: an error, or a checkpoint whose every tensor can be found, sized and read, and which
// the writer turns into a file that reads back to the same.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "aulos/io/safetensors.hpp"

namespace {

void require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "failed: %s\n", what);
  std::abort();
}

void check(std::span<const std::byte> bytes) {
  namespace io = aulos::io;
  const io::Checkpoint checkpoint = io::Checkpoint::from_bytes(bytes);
  std::vector<io::SaveTensor> tensors;
  std::vector<io::WantedTensor> wanted;
  for (const io::TensorInfo& info : checkpoint.tensors()) {
    require(checkpoint.find(info.name) == &info, "a tensor is found under its name");
    const std::span<const std::byte> view = checkpoint.view(info);
    require(static_cast<aulos::Index>(view.size()) == info.bytes, "a view has the tensor's size");
    std::vector<std::byte> copy(view.size());
    checkpoint.read_bytes(info, copy);
    require(copy.empty() || std::memcmp(copy.data(), view.data(), copy.size()) == 0, "a copy equals the view");
    if (aulos::is_convertible(info.dtype)) {
      std::vector<float> values(static_cast<std::size_t>(info.count));
      checkpoint.read(info, values.data(), info.count);
    }
    tensors.push_back({std::string(info.name), info.dtype, {info.shape.begin(), info.shape.end()}, view});
    wanted.push_back({std::string(info.name) + (tensors.size() % 2 == 0 ? "" : ".x"), tensors.back().shape});
  }
  const std::vector<std::byte> saved = io::serialize(tensors, checkpoint.metadata());
  const io::Checkpoint again = io::Checkpoint::from_bytes(saved);
  require(again.metadata() == checkpoint.metadata(), "metadata survives");
  require(again.tensors().size() == checkpoint.tensors().size(), "tensors survive");
  for (const io::TensorInfo& info : checkpoint.tensors()) {
    const io::TensorInfo& other = again.info(info.name);
    require(other.dtype == info.dtype && other.bytes == info.bytes, "types survive");
    require(info.bytes == 0 || std::memcmp(again.view(other).data(), checkpoint.view(info).data(),
                                           static_cast<std::size_t>(info.bytes)) == 0,
            "bytes survive");
  }
  if (tensors.size() < 50) io::compare(wanted, checkpoint).text();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  try {
    check(bytes);
  } catch (const aulos::Error&) {
  }
  try {
    aulos::io::json::parse({reinterpret_cast<const char*>(data), size});
  } catch (const aulos::io::JsonError&) {
  }
  return 0;
}
