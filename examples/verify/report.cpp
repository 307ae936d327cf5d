#include "verify/report.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <limits>

namespace verify {

namespace {

constexpr double floor_of_tolerance = 2e-5;  // float32 rounding of the references
constexpr double gradient_factor = 5;
constexpr double noise_share = 5e-6;  // of the largest gradient: a true zero holds rounding noise

bool starts_with(std::string_view text, std::string_view prefix) { return text.substr(0, prefix.size()) == prefix; }
bool is_output(std::string_view name) { return starts_with(name, "output/"); }
bool is_gradient(std::string_view name) { return starts_with(name, "grad_input/") || starts_with(name, "grad_param/"); }

double case_tolerance(const aulos::io::Checkpoint& file, std::optional<double> given) {
  if (given) return *given;
  double t = floor_of_tolerance;
  if (const std::string* found = file.metadata().find("tolerance")) {
    const std::string& text = *found;
    double value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error == std::errc() && end == text.data() + text.size() && std::isfinite(value)) t = value;
  }
  return std::max(t, floor_of_tolerance);
}

double rms(const std::vector<float>& x) {
  double sum = 0;
  std::size_t n = 0;
  for (const float v : x) {
    if (!std::isfinite(v)) continue;
    sum += static_cast<double>(v) * static_cast<double>(v);
    ++n;
  }
  return n == 0 ? 0 : std::sqrt(sum / static_cast<double>(n));
}

bool same_non_finite(float a, float b) {
  if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && std::isnan(b);
  return a == b;
}

void compare_floats(const std::vector<float>& reference, const std::vector<float>& computed, Verdict& verdict) {
  double sum = 0;
  for (std::size_t i = 0; i < reference.size(); ++i) {
    const float r = reference[i];
    const float c = computed[i];
    if (!std::isfinite(r) || !std::isfinite(c)) {
      if (verdict.reason.empty() && !same_non_finite(r, c))
        verdict.reason =
            "element " + std::to_string(i) + " is " + std::to_string(c) + ", expected " + std::to_string(r);
      continue;
    }
    const double error = std::fabs(static_cast<double>(c) - static_cast<double>(r));
    verdict.max_abs = std::max(verdict.max_abs, error);
    sum += error * error;
  }
  const double n = static_cast<double>(std::max<std::size_t>(1, reference.size()));
  const double error = std::sqrt(sum / n);
  const double scale = rms(reference);
  verdict.rms_ratio = error == 0 ? 0 : scale > 0 ? error / scale : std::numeric_limits<double>::infinity();
}

}  // namespace

bool CaseReport::passed() const {
  return error.empty() && std::all_of(verdicts.begin(), verdicts.end(), [](const Verdict& v) { return v.passed; });
}

CaseReport judge(const aulos::io::Checkpoint& file, const std::map<std::string, aulos::CaseValues>& computed,
                 std::optional<double> tolerance) {
  CaseReport report;
  const double t = case_tolerance(file, tolerance);
  double largest_gradient = 0;
  for (const auto& info : file.tensors())
    if (is_gradient(info.name)) largest_gradient = std::max(largest_gradient, rms(file.values<float>(info.name)));
  std::string others;  // results under names that the case doesn't have
  for (const auto& [name, values] : computed)
    if (is_output(name) && file.find(name) == nullptr) others += (others.empty() ? ", but " : ", ") + name;
  for (const auto& info : file.tensors()) {
    if (!is_output(info.name) && !is_gradient(info.name)) continue;
    Verdict verdict;
    verdict.tensor = std::string(info.name);
    const auto found = computed.find(verdict.tensor);
    if (found == computed.end()) {
      verdict.reason = "not computed" + others;
    } else if (!std::equal(info.shape.begin(), info.shape.end(), found->second.shape.begin(),
                           found->second.shape.end())) {
      verdict.reason = "shape " +
                       aulos::to_string(found->second.shape.data(), static_cast<int>(found->second.shape.size())) +
                       ", expected " + aulos::to_string(info.shape.data(), static_cast<int>(info.shape.size()));
    } else if (aulos::is_integer(info.dtype)) {
      std::vector<std::int64_t> reference(static_cast<std::size_t>(info.count));
      file.read(info, reference.data(), info.count);
      std::vector<std::int64_t> integers = found->second.integers;
      for (const float v : found->second.floats) integers.push_back(static_cast<std::int64_t>(v));
      verdict.passed = reference == integers;
      if (!verdict.passed) verdict.reason = "integers differ";
    } else {
      std::vector<float> values = found->second.floats;
      for (const std::int64_t v : found->second.integers) values.push_back(static_cast<float>(v));
      const std::vector<float> reference = file.values<float>(info.name);
      compare_floats(reference, values, verdict);
      const double bound = is_output(info.name) ? t : gradient_factor * t;
      const bool noise = is_gradient(info.name) && verdict.rms_ratio * rms(reference) <= noise_share * largest_gradient;
      verdict.passed = verdict.reason.empty() && (verdict.rms_ratio <= bound || noise);
      if (!verdict.passed && verdict.reason.empty() && std::isinf(verdict.rms_ratio)) verdict.reason = "expected zeros";
    }
    report.verdicts.push_back(std::move(verdict));
  }
  return report;
}

void dump(const std::string& folder, const std::string& system, const std::string& name,
          const aulos::io::Checkpoint& file, const std::map<std::string, aulos::CaseValues>& computed) {
  std::vector<std::vector<std::byte>> bytes;
  std::vector<aulos::io::SaveTensor> tensors;
  bytes.reserve(file.tensors().size());
  for (const auto& info : file.tensors()) {
    if (!is_output(info.name) && !is_gradient(info.name)) continue;
    const auto found = computed.find(std::string(info.name));
    const bool integer = aulos::is_integer(info.dtype);
    const std::size_t width = integer ? sizeof(std::int64_t) : sizeof(float);
    std::vector<std::byte>& data = bytes.emplace_back(static_cast<std::size_t>(info.count) * width);
    for (std::size_t i = 0; found != computed.end() && i < static_cast<std::size_t>(info.count); ++i) {
      const aulos::CaseValues& v = found->second;
      const auto at = [&](auto& list) { return i < list.size() ? list[i] : decltype(list[i] + 0){0}; };
      if (integer) {
        const std::int64_t value = v.integer ? at(v.integers) : static_cast<std::int64_t>(at(v.floats));
        std::memcpy(data.data() + i * width, &value, width);
      } else {
        const float value = v.integer ? static_cast<float>(at(v.integers)) : at(v.floats);
        std::memcpy(data.data() + i * width, &value, width);
      }
    }
    tensors.push_back({std::string(info.name), integer ? aulos::Dtype::i64 : aulos::Dtype::f32,
                       std::vector<aulos::Index>(info.shape.begin(), info.shape.end()), data});
  }
  const std::filesystem::path path = std::filesystem::path(folder) / system;
  std::filesystem::create_directories(path);
  aulos::io::save((path / (name + ".safetensors")).string(), tensors, {{"system", system}, {"case", name}});
}

}  // namespace verify
