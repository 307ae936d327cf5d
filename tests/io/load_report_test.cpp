#include "aulos/io/load_report.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "aulos/io/save.hpp"
#include "tests/io/files.hpp"

namespace aulos::io {
namespace {

using aulos_tests::as_bytes;
using aulos_tests::contains;
using aulos_tests::error_of;

// What a two-layer model wants; the buffer can be derived.
const std::vector<WantedTensor> wanted = {{"fc1.weight", {4, 3}}, {"fc1.bias", {4}},
                                          {"fc2.weight", {3, 4}}, {"fc2.bias", {3}},
                                          {"norm.weight", {3}},   {"positions", {1, 5}, Presence::optional}};

struct Bytes {
  std::vector<std::byte> bytes;
  Checkpoint checkpoint() const { return Checkpoint::from_bytes(bytes, "the-file"); }
};

struct Entry {
  std::string name;
  std::vector<Index> shape;
  Dtype dtype = Dtype::f32;
};

std::vector<Entry> good() {
  std::vector<Entry> entries;
  for (const WantedTensor& w : wanted) {
    if (w.presence == Presence::required) entries.push_back({w.name, w.shape});
  }
  return entries;
}

Bytes file_of(const std::vector<Entry>& entries, const std::string& prefix = "") {
  static const std::string zeros(1024, '\0');
  std::vector<SaveTensor> tensors;
  for (const Entry& entry : entries) {
    Index size = bits(entry.dtype);
    for (const Index extent : entry.shape) size *= extent;
    size /= 8;
    tensors.push_back(
        {prefix + entry.name, entry.dtype, entry.shape, as_bytes(zeros).subspan(0, static_cast<std::size_t>(size))});
  }
  return {serialize(tensors)};
}

std::string report_of(const Bytes& file, const LoadOptions& options = {}) {
  return error_of([&] { match(wanted, file.checkpoint(), options); });
}

TEST(LoadReport, AFittingFileGivesEachTensorInOrder) {
  const Bytes file = file_of(good());
  const Checkpoint checkpoint = file.checkpoint();
  const auto matches = match(wanted, checkpoint);
  ASSERT_EQ(matches.size(), wanted.size());
  for (std::size_t i = 0; i + 1 < wanted.size(); ++i) EXPECT_EQ(matches[i]->name, wanted[i].name);
  EXPECT_EQ(matches.back(), nullptr) << "optional and absent";
  EXPECT_EQ(compare(wanted, checkpoint).text(), "the-file: fits the model");
}

TEST(LoadReport, OptionalTensorsAreTakenWhenPresentAndChecked) {
  std::vector<Entry> entries = good();
  entries.push_back({"positions", {1, 5}});
  EXPECT_EQ(report_of(file_of(entries)), "");
  entries.back().shape = {1, 6};
  EXPECT_TRUE(contains(report_of(file_of(entries)), "wrong shape 'positions': expected [1, 5], got F32 [1, 6]"));
}

TEST(LoadReport, RenamedKeyNamesBothSides) {
  std::vector<Entry> entries = good();
  entries[0].name = "fc1.wieght";
  const std::string message = report_of(file_of(entries));
  EXPECT_TRUE(
      contains(message, "the-file: doesn't fit the model: 1 missing, 1 unexpected, 0 of wrong shape, 0 of wrong dtype"))
      << message;
  EXPECT_TRUE(contains(message, "\n  missing 'fc1.weight': expected [4, 3], nearest 'fc1.wieght'")) << message;
  EXPECT_TRUE(contains(message, "\n  unexpected 'fc1.wieght': F32 [4, 3], nearest 'fc1.weight'")) << message;
}

TEST(LoadReport, DroppedAndAddedKeys) {
  std::vector<Entry> entries = good();
  entries.pop_back();
  EXPECT_TRUE(contains(report_of(file_of(entries)), "missing 'norm.weight': expected [3]"));
  entries = good();
  entries.push_back({"fc1.weight.extra", {2}});
  EXPECT_TRUE(contains(report_of(file_of(entries)), "unexpected 'fc1.weight.extra': F32 [2]"));
  EXPECT_EQ(report_of(file_of(entries), {.allow_unexpected = true}), "");
  entries.pop_back();
  entries.erase(entries.begin());
  const std::string message = report_of(file_of(entries), {.allow_unexpected = true});
  EXPECT_TRUE(contains(message, "1 missing, 0 unexpected")) << message;
}

TEST(LoadReport, TransposedAndWrongShapes) {
  std::vector<Entry> entries = good();
  entries[0].shape = {3, 4};
  entries[1].shape = {4, 1};
  const std::string message = report_of(file_of(entries));
  EXPECT_TRUE(contains(message, "wrong shape 'fc1.weight': expected [4, 3], got F32 [3, 4], its transpose")) << message;
  EXPECT_TRUE(contains(message, "wrong shape 'fc1.bias': expected [4], got F32 [4, 1]")) << message;
}

TEST(LoadReport, EveryFloatDtypeIsRightNothingElse) {
  for (std::size_t i = 0; i < 22; ++i) {
    const auto dtype = static_cast<Dtype>(i);
    std::vector<Entry> entries = good();
    entries[0].dtype = dtype;
    const std::string message = report_of(file_of(entries));
    if (is_convertible(dtype)) {
      EXPECT_EQ(message, "");
    } else {
      EXPECT_TRUE(
          contains(message, "wrong dtype 'fc1.weight': expected one of F64, F32, F16, BF16, F8_E4M3, F8_E5M2, got " +
                                std::string(name(dtype))))
          << message;
    }
  }
}

TEST(LoadReport, AllProblemsAtOnce) {
  const Bytes file =
      file_of({{"fc1.weight", {3, 4}}, {"fc1.bias", {4}, Dtype::i32}, {"fc2.weigth", {3, 4}}, {"fc2.bias", {3}}});
  const std::string message = report_of(file);
  EXPECT_TRUE(contains(message, "2 missing, 1 unexpected, 1 of wrong shape, 1 of wrong dtype")) << message;
  for (const char* part : {"missing 'fc2.weight'", "missing 'norm.weight'", "unexpected 'fc2.weigth'",
                           "wrong shape 'fc1.weight'", "wrong dtype 'fc1.bias'"}) {
    EXPECT_TRUE(contains(message, part)) << part << "\n" << message;
  }
}

TEST(LoadReport, EmptyFile) {
  const std::string message = report_of(file_of({}));
  EXPECT_TRUE(contains(message, "5 missing, 0 unexpected")) << message;
}

TEST(LoadReport, PrefixSelectsASubtreeAndIgnoresTheRest) {
  std::vector<Entry> entries;
  for (const Entry& entry : good()) entries.push_back({"model.diffusion_model." + entry.name, entry.shape});
  entries.push_back({"first_stage_model.decoder.weight", {7}});
  entries.push_back({"cond_stage_model.ids", {7}, Dtype::i64});
  EXPECT_EQ(report_of(file_of(entries), {.prefix = "model.diffusion_model."}), "");
  entries.push_back({"model.diffusion_model.more", {7}});
  const std::string message = report_of(file_of(entries), {.prefix = "model.diffusion_model."});
  EXPECT_TRUE(contains(message, "under prefix 'model.diffusion_model.': 0 missing, 1 unexpected")) << message;
  EXPECT_TRUE(contains(message, "unexpected 'more': F32 [7]")) << message;
}

TEST(LoadReport, HintNamesThePrefixThatWouldFit) {
  for (const char* prefix : {"module.", "model.", "model.diffusion_model.", "anything.else.", "param/"}) {
    const std::string message = report_of(file_of(good(), prefix));
    EXPECT_TRUE(contains(message, "\n  hint: set .prefix to '" + std::string(prefix) +
                                      "': 5 of 6 wanted names are in the file so, 0 as asked"))
        << message;
  }
}

TEST(LoadReport, HintWhenOnlyHalfHasThePrefix) {
  std::vector<Entry> entries = good();
  for (std::size_t i = 0; i < 3; ++i) entries[i].name = "module." + entries[i].name;
  const std::string message = report_of(file_of(entries));
  EXPECT_TRUE(contains(message, "3 missing, 3 unexpected")) << message;
  EXPECT_TRUE(contains(message, "hint: set .prefix to 'module.': 3 of 6 wanted names are in the file so, 2 as asked"))
      << message;
}

TEST(LoadReport, HintWhenThePrefixIsTooMuchOrWrong) {
  EXPECT_TRUE(contains(report_of(file_of(good()), {.prefix = "module."}), "hint: leave .prefix empty: 5 of 6"));
  EXPECT_TRUE(
      contains(report_of(file_of(good(), "model."), {.prefix = "module."}), "hint: set .prefix to 'model.': 5 of 6"));
}

TEST(LoadReport, HintWhenTheFileHoldsTheSubtreeOnly) {
  const Bytes file = file_of(good());
  std::vector<WantedTensor> longer;
  for (const WantedTensor& w : wanted) longer.push_back({"transformer." + w.name, w.shape, w.presence});
  const std::string message = error_of([&] { match(longer, file.checkpoint()); });
  EXPECT_TRUE(contains(message, "hint: the names in the file lack 'transformer.': 5 of 6")) << message;
}

TEST(LoadReport, HostileNamesAreEscaped) {
  std::vector<Entry> entries = good();
  entries.push_back({"\x1b[2J\nfc1", {1}});
  EXPECT_TRUE(contains(report_of(file_of(entries)), "unexpected '\\u{001b}[2J\\nfc1': F32 [1]"));
}

TEST(LoadReport, ManyProblemsAreCutInTextNotInTheReport) {
  std::vector<WantedTensor> many;
  for (int i = 0; i < 3000; ++i) many.push_back({"layer." + std::to_string(i) + ".weight", {1}});
  std::vector<Entry> entries;
  for (int i = 0; i < 3000; ++i) entries.push_back({"block." + std::to_string(i) + ".kernel", {1}});
  const Bytes file = file_of(entries);
  const LoadReport report = compare(many, file.checkpoint());
  EXPECT_EQ(report.missing.size(), 3000u);
  EXPECT_EQ(report.unexpected.size(), 3000u);
  EXPECT_TRUE(contains(report.text(), "\n  missing: 2000 more\n"));
}

}  // namespace
}  // namespace aulos::io
