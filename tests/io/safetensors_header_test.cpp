#include "aulos/io/safetensors_header.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "aulos/io/checkpoint.hpp"
#include "tests/io/files.hpp"

namespace aulos::io {
namespace {

using aulos_tests::as_bytes;
using aulos_tests::contains;
using aulos_tests::error_of;
using aulos_tests::Folder;
using aulos_tests::length_field;
using aulos_tests::safetensors;
using aulos_tests::write_file;

// A hostile or odd file, and what the message must hold; "" where the file is valid.
struct Case {
  std::string name;
  std::string bytes;
  std::string expected;
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.name << " (" << c.bytes.size() << " bytes)"; }

std::string entry(std::string_view dtype, std::string_view shape, std::string_view offsets) {
  return R"({"dtype":")" + std::string(dtype) + R"(","shape":)" + std::string(shape) + R"(,"data_offsets":)" +
         std::string(offsets) + "}";
}

// A file of one tensor "w".
std::string one(std::string_view dtype, std::string_view shape, std::string_view offsets, std::size_t data) {
  return safetensors(R"({"w":)" + entry(dtype, shape, offsets) + "}", std::string(data, '\x01'));
}

const std::string good_header = R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
const std::string good = safetensors(good_header, std::string(8, '\x01'));

std::vector<Case> prefix_cases() {
  std::vector<Case> cases;
  cases.push_back({"Empty", "", "the file is empty"});
  for (std::size_t n = 1; n < 8; ++n) {
    cases.push_back({"OnlyBytes" + std::to_string(n), std::string(n, '\0'),
                     "expected at least 8 bytes for the header's length, got " + std::to_string(n)});
  }
  cases.push_back(
      {"LengthZero", length_field(0), "byte 8: expected an object for the header, got the end of the text"});
  cases.push_back({"LengthZeroThenObject", length_field(0) + "{}", "byte 8: expected an object"});
  cases.push_back({"LengthOne", length_field(1) + "{", "byte 9: expected a string for a key, got the end of the text"});
  cases.push_back({"LengthTwo", length_field(2) + "{}", ""});
  const auto lies = [&](const char* name, std::uint64_t length, const std::string& expected) {
    cases.push_back({name, length_field(length) + "{}", expected});
  };
  lies("LengthOneTooMany", 3, "expected a header of 3 bytes, but only 2 follow its length");
  lies("LengthOfFile", 10, "expected a header of 10 bytes, but only 2 follow");
  lies("LengthJustBelowLimit", 99'999'999, "expected a header of 99999999 bytes, but only 2 follow");
  lies("LengthAtLimit", 100'000'000, "expected a header of 100000000 bytes, but only 2 follow");
  lies("LengthAboveLimit", 100'000'001, "expected a header of at most 100000000 bytes, got a length of 100000001");
  lies("Length2To31", 1u << 31, "got a length of 2147483648");
  lies("Length2To32", 1ull << 32, "got a length of 4294967296");
  lies("Length2To63", 1ull << 63, "got a length of 9223372036854775808");
  lies("LengthMinus1", ~0ull, "got a length of 18446744073709551615");
  lies("LengthMinus5", ~0ull - 4, "got a length of 18446744073709551611");
  lies("LengthMinus8", ~0ull - 7, "got a length of 18446744073709551608");
  cases.push_back({"OnlyLength", length_field(~0ull), "got a length of"});
  cases.push_back({"LengthIsFileMinus7", length_field(good.size() - 7) + good.substr(8), "but only"});
  cases.push_back(
      {"LengthIsFileMinus8", length_field(good.size() - 8) + good.substr(8), "expected the end of the text"});
  cases.push_back({"OneByteExtra", good + "x", "trailing bytes: bytes 8 to 9 of the data follow the last tensor"});
  cases.push_back({"OneByteMissing", good.substr(0, good.size() - 1),
                   "truncated: tensor 'w' has bytes 0 to 8 of the data, but the file ends after 7"});
  return cases;
}

std::vector<Case> text_cases() {
  std::vector<Case> cases;
  const auto header = [&](const char* name, const std::string& text, const std::string& expected) {
    cases.push_back(
        {name, safetensors(text, text.find("[0,8]") == std::string::npos ? "" : std::string(8, '\0')), expected});
  };
  const auto named = [&](const char* name, const std::string& key, const std::string& expected) {
    header(name, "{\"" + key + "\":" + entry("F32", "[2]", "[0,8]") + "}", expected);
  };
  named("Utf8Overlong2", "a\xc0\xaf", "byte 11: expected UTF-8, got byte '\\xc0'");
  named("Utf8Overlong3", "a\xe0\x80\xaf", "byte 11: expected UTF-8");
  named("Utf8Overlong4", "a\xf0\x80\x80\xaf", "byte 11: expected UTF-8");
  named("Utf8Surrogate", "a\xed\xa0\x80", "byte 11: expected UTF-8");
  named("Utf8Lone80", "a\x80", "byte 11: expected UTF-8");
  named("Utf8FF", "a\xff", "byte 11: expected UTF-8");
  named("Utf8PastEnd", "a\xf4\x90\x80\x80", "byte 11: expected UTF-8");
  named("Utf8Cut", "a\xe2\x82", "byte 11: expected UTF-8");
  named("Utf8Good", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x8e\xb6", "");
  header("Bom", "\xef\xbb\xbf" + good_header, "byte 8: expected an object for the header");
  named("NulInName", std::string("a\0b", 3), "byte 11: expected an escape for a control character");
  named("NewlineInName", "a\nb", "byte 11: expected an escape for a control character");
  header("NulAfter", good_header + std::string(1, '\0'), "expected the end of the text, got '\\u{0000}'");
  header("LeadingSpace", " " + good_header, "");
  header("LeadingWhiteSpace", " \t\r\n" + good_header, "");
  header("TrailingWhiteSpace", good_header + " \t\r\n  ", "");
  header("SpaceEverywhere", " { \"w\" : { \"dtype\" : \"F32\" , \"shape\" : [ 2 ] , \"data_offsets\" : [0,8] } } ", "");
  header("LeadingVerticalTab", "\v" + good_header, "byte 8: expected an object");
  header("LeadingFormFeed", "\f" + good_header, "byte 8: expected an object");
  header("TrailingVerticalTab", good_header + "\v", "expected the end of the text");
  header("LeadingNoBreakSpace", "\xc2\xa0" + good_header, "byte 8: expected an object");
  header("CommentBefore", "/* */" + good_header, "byte 8: expected an object");
  header("CommentAfter", good_header + "// x", "expected the end of the text");
  header("TrailingComma", R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},})", "expected a string for a key");
  header("TrailingCommaInEntry", R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8],}})",
         "expected a string for a key");
  header("TrailingCommaInShape", R"({"w":{"dtype":"F32","shape":[2,],"data_offsets":[0,8]}})",
         "expected a number for shape");
  header("TrailingText", good_header + "x", "expected the end of the text, got 'x'");
  header("TwoObjects", good_header + "{}", "expected the end of the text");
  header("MissingComma", R"({"w":{"dtype":"F32" "shape":[2],"data_offsets":[0,8]}})",
         "expected '}' or ',' in an object");
  header("MissingColon", R"({"w" {"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", "expected ':' after a key");
  header("Unclosed", good_header.substr(0, good_header.size() - 1), "expected '}' or ',' in an object, got the end");
  header("UnclosedString", R"({"w)", "a string without its closing quote");
  header("TopArray", "[]", "expected an object for the header");
  header("TopString", "\"x\"", "expected an object for the header");
  header("TopNumber", "7", "expected an object for the header");
  header("TopNull", "null", "expected an object for the header");
  header("SingleQuotes", "{'w':{}}", "expected a string for a key");
  header("UnquotedKey", "{w:{}}", "expected a string for a key");
  header("NaNInUnknownField", R"({"w":{"x":NaN,"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", "expected a number");
  named("EscapedNul", "a\\u0000b", "");
  named("EscapesAll", "\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\ud83c\\udfb6", "");
  named("LoneHighSurrogate", "\\ud800", "byte 10: a lone surrogate");
  named("LoneLowSurrogate", "\\udc00", "byte 10: a lone surrogate");
  named("HighSurrogateThenText", "\\ud800x", "a lone surrogate");
  named("TwoHighSurrogates", "\\ud800\\ud800", "a lone surrogate");
  named("UnknownEscape", "\\q", "byte 10: unknown escape");
  named("EscapeX", "\\x41", "unknown escape");
  named("ShortHex", "\\u12", "expected four hexadecimal digits");
  named("BadHex", "\\u12g4", "expected four hexadecimal digits");
  named("EmptyName", "", "");
  named("NameWithSlashes", "a/../b/./c", "");
  named("NameWithTerminalEscape", "a\\u001b[31mred\\n", "");
  named("NameAtLimit", std::string(65536, 'n'), "");
  named("NameAboveLimit", std::string(65537, 'n'), "expected a name of at most 65536 bytes, got 65537");
  named("NameOfOneMegabyte", std::string(1 << 20, 'n'), "expected a name of at most 65536 bytes, got 1048576");
  header("TerminalEscapeInMessage", R"({"\u001b[31mred\n":{"dtype":"F32","shape":[2]}})",
         "tensor '\\u{001b}[31mred\\n': has no 'data_offsets'");
  header("ErrorBehindAnEscapedName", R"({"\u0061\n\u0062":{"dtype":"F32","shape":[2,x]}})",
         "tensor 'a\\nb', byte 52: expected a number for shape");
  return cases;
}

std::vector<Case> structure_cases() {
  std::vector<Case> cases;
  const auto header = [&](const std::string& name, const std::string& text, std::size_t data,
                          const std::string& expected) {
    cases.push_back({name, safetensors(text, std::string(data, '\0')), expected});
  };
  const auto nested = [](std::size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  for (const std::size_t depth : {10u, 60u, 63u, 100u, 1000u, 1'000'000u}) {
    const bool is_deep = depth + 2 > 64;
    header("DepthOfArrays" + std::to_string(depth),
           R"({"w":{"x":)" + nested(depth) + R"(,"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 8,
           is_deep ? "nested deeper than 64 levels" : "");
  }
  std::string objects;
  for (int i = 0; i < 1000; ++i) objects += "{\"a\":";
  header("DepthOfObjects", R"({"w":{"x":)" + objects, 0, "nested deeper than 64 levels");
  header("DepthAtTop", nested(100'000), 0, "expected an object for the header");
  header("UnknownFieldIgnored",
         R"({"w":{"x":{"y":[1,2.5,"z",null,true]},"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 8, "");
  header("MissingDtype", R"({"w":{"shape":[2],"data_offsets":[0,8]}})", 8, "tensor 'w': has no 'dtype'");
  header("MissingShape", R"({"w":{"dtype":"F32","data_offsets":[0,8]}})", 8, "tensor 'w': has no 'shape'");
  header("MissingOffsets", R"({"w":{"dtype":"F32","shape":[2]}})", 8, "tensor 'w': has no 'data_offsets'");
  header("FieldInOtherCase", R"({"w":{"Dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 8, "has no 'dtype'");
  header("RepeatedDtype", R"({"w":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 8,
         "tensor 'w': duplicate key 'dtype'");
  header("RepeatedShape", R"({"w":{"dtype":"F32","shape":[2],"shape":[2],"data_offsets":[0,8]}})", 8,
         "tensor 'w': duplicate key 'shape'");
  header("RepeatedOffsets", R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"data_offsets":[0,8]}})", 8,
         "tensor 'w': duplicate key 'data_offsets'");
  header("RepeatedUnknown", R"({"w":{"x":1,"x":2,"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 8,
         "tensor 'w': duplicate key 'x'");
  header("RepeatedInsideUnknown", R"({"w":{"x":{"y":1,"y":2},"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 8,
         "duplicate key 'y'");
  const std::string first = R"("a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]})";
  const std::string second = R"({"dtype":"F32","shape":[1],"data_offsets":[4,8]})";
  header("RepeatedTensor", "{" + first + R"(,"a":)" + second + "}", 8, "duplicate key 'a' in the header");
  header("RepeatedTensorByEscape", "{" + first + R"(,"\u0061":)" + second + "}", 8, "duplicate key 'a' in the header");
  header("RepeatedMetadata", R"({"__metadata__":{},"__metadata__":{}})", 0, "duplicate key '__metadata__'");
  header("RepeatedMetadataByEscape", R"({"__metadata__":{},"\u005f_metadata__":{}})", 0,
         "duplicate key '__metadata__'");
  header("RepeatedMetadataKey", R"({"__metadata__":{"k":"1","k":"1"}})", 0, "duplicate key 'k' in __metadata__");
  header("MetadataEmpty", R"({"__metadata__":{}})", 0, "");
  header("MetadataAlone", R"({"__metadata__":{"k":"v"}})", 0, "");
  header("MetadataNull", R"({"__metadata__":null})", 0, "__metadata__, byte 24: expected an object for string pairs");
  header("MetadataArray", R"({"__metadata__":[]})", 0, "__metadata__, byte 24: expected an object");
  header("MetadataString", R"({"__metadata__":"x"})", 0, "__metadata__, byte 24: expected an object");
  header("MetadataInteger", R"({"__metadata__":{"k":0}})", 0,
         "__metadata__, byte 29: key 'k': expected a string, got '0}}'");
  header("MetadataNullValue", R"({"__metadata__":{"k":null}})", 0, "key 'k': expected a string");
  header("MetadataObjectValue", R"({"__metadata__":{"k":{}}})", 0, "key 'k': expected a string");
  header("MetadataLargeValue", R"({"__metadata__":{"k":")" + std::string(10'000'000, 'v') + "\"}}", 0, "");
  header("MetadataLast", "{" + first + R"(,"__metadata__":{"k":"v"}})", 4, "");
  header("EntryNull", R"({"w":null})", 0, "tensor 'w', byte 13: expected an object for a tensor, got 'null}'");
  header("EntryArray", R"({"w":[]})", 0, "tensor 'w', byte 13: expected an object");
  header("EntryNumber", R"({"w":7})", 0, "tensor 'w', byte 13: expected an object");
  header("EntryString", R"({"w":"F32"})", 0, "tensor 'w', byte 13: expected an object");
  header("EntryEmpty", R"({"w":{}})", 0, "tensor 'w': has no 'dtype'");
  header("DtypeNumber", R"({"w":{"dtype":32}})", 0, "tensor 'w', byte 22: expected a string for dtype, got '32}}'");
  header("DtypeNull", R"({"w":{"dtype":null}})", 0, "expected a string for dtype");
  header("ShapeObject", R"({"w":{"shape":{}}})", 0, "expected an array for shape");
  header("ShapeNumber", R"({"w":{"shape":2}})", 0, "expected an array for shape");
  header("OffsetsObject", R"({"w":{"data_offsets":{}}})", 0, "expected an array for data_offsets");
  header("NoTensors", "{}", 0, "");
  header("NoTensorsButData", "{}", 3, "trailing bytes: bytes 0 to 3 of the data");
  return cases;
}

std::vector<Case> number_cases() {
  std::vector<Case> cases;
  struct Token {
    const char* name;
    const char* text;
    const char* expected;
  };
  const char* const no_natural = "must be an integer from 0, without sign, point or exponent, got ";
  const Token tokens[] = {
      {"Minus1", "-1", no_natural},
      {"Minus0", "-0", no_natural},
      {"Point", "0.0", no_natural},
      {"TwoPointZero", "2.0", no_natural},
      {"TwoAndAHalf", "2.5", no_natural},
      {"Exponent", "1e3", no_natural},
      {"ExponentCapital", "1E0", no_natural},
      {"Huge", "1E400", no_natural},
      {"LeadingZeros", "007", "a number with a leading zero"},
      {"LeadingZero", "02", "a number with a leading zero"},
      {"Plus", "+2", "expected a number"},
      {"True", "true", "expected a number"},
      {"String", "\"2\"", "expected a number"},
      {"Null", "null", "expected a number"},
      {"Object", "{}", "expected a number"},
      {"Array", "[2]", "expected a number"},
      {"Hexadecimal", "0x2", "expected"},
      {"Infinity", "Infinity", "expected a number"},
      {"MinusAlone", "-", "expected a digit in a number"},
      {"PointAlone", "2.", "expected a digit in a number"},
      {"ExponentAlone", "2e", "expected a digit in a number"},
      {"TwoTo63", "9223372036854775808", "exceeds 2^63 - 1: 9223372036854775808"},
      {"TwoTo64Minus1", "18446744073709551615", "exceeds 2^63 - 1"},
      {"TwoTo64", "18446744073709551616", "exceeds 2^63 - 1"},
      {"TwoTo64Plus2", "18446744073709551618", "exceeds 2^63 - 1"},
      {"WrapsToTwo", "184467440737095516162", "exceeds 2^63 - 1"},
      {"WrapsToEight", "184467440737095516168", "exceeds 2^63 - 1"},
      {"FortyDigits", "1234567890123456789012345678901234567890", "exceeds 2^63 - 1"},
  };
  for (const Token& token : tokens) {
    const std::string text = token.text;
    cases.push_back({std::string("Shape") + token.name, one("F32", "[" + text + "]", "[0,8]", 8), token.expected});
    cases.push_back({std::string("Begin") + token.name, one("F32", "[2]", "[" + text + ",8]", 8), token.expected});
    cases.push_back({std::string("End") + token.name, one("F32", "[2]", "[0," + text + "]", 8), token.expected});
  }
  const char* const size_of_w = "tensor 'w': expected 8 bytes for F32 [2], got ";
  cases.push_back(
      {"EndTwoTo53Plus1", one("F32", "[2]", "[0,9007199254740993]", 8), std::string(size_of_w) + "9007199254740993"});
  cases.push_back({"EndTwoTo63Minus1", one("F32", "[2]", "[0,9223372036854775807]", 8), size_of_w});
  cases.push_back({"OffsetsNone", one("F32", "[2]", "[]", 8), "expected 2 numbers in data_offsets, got 0"});
  cases.push_back({"OffsetsOne", one("F32", "[2]", "[0]", 8), "expected 2 numbers in data_offsets, got 1"});
  cases.push_back({"OffsetsThree", one("F32", "[2]", "[0,8,16]", 8), "expected 2 numbers in data_offsets, got more"});
  return cases;
}

std::vector<Case> dtype_cases() {
  std::vector<Case> cases;
  for (std::size_t i = 0; i < 22; ++i) {
    const auto dtype = static_cast<Dtype>(i);
    const std::string text(name(dtype));
    const std::string bytes = std::to_string(bits(dtype));  // 8 elements take as many bytes as one has bits
    cases.push_back(
        {"Known" + text, one(text, "[2,4]", "[0," + bytes + "]", static_cast<std::size_t>(bits(dtype))), ""});
  }
  const auto unknown = [&](const char* name, const std::string& text) {
    cases.push_back({name, one(text, "[2]", "[0,8]", 8), "tensor 'w': unknown dtype '" + text.substr(0, 40)});
  };
  unknown("UnknownLowerCase", "f32");
  unknown("UnknownF128", "F128");
  unknown("UnknownEmpty", "");
  unknown("UnknownWithSpace", "F32 ");
  unknown("UnknownTorchName", "float32");
  unknown("UnknownFiveMegabytes", std::string(5'000'000, 'F'));
  cases.push_back(
      {"UnknownListsTheKnown", one("XYZ", "[2]", "[0,8]", 8), "expected one of BOOL F4 F6_E2M3 F6_E3M2 U8 I8"});
  // All of the file, also of tensors nobody asks for: as in the reference reader.
  cases.push_back(
      {"UnknownBesideKnown",
       safetensors(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"e":{"dtype":"XYZ","shape":[4],)"
                   R"("data_offsets":[4,8]}})",
                   std::string(8, '\0')),
       "tensor 'e': unknown dtype 'XYZ'"});
  cases.push_back(
      {"F4OddCount", one("F4", "[3]", "[0,2]", 2), "tensor 'w': expected whole bytes, but F4 [3] takes 12 bits"});
  cases.push_back(
      {"F6OddCount", one("F6_E2M3", "[2]", "[0,2]", 2), "expected whole bytes, but F6_E2M3 [2] takes 12 bits"});
  cases.push_back({"F6FourElements", one("F6_E3M2", "[4]", "[0,3]", 3), ""});
  cases.push_back({"F4Scalar", one("F4", "[]", "[0,1]", 1), "expected whole bytes, but F4 [] takes 4 bits"});
  cases.push_back({"F4Empty", one("F4", "[0]", "[0,0]", 0), ""});
  return cases;
}

std::string list_of_ones(std::size_t rank) {
  std::string result = "[";
  for (std::size_t i = 0; i < rank; ++i) result += i == 0 ? "1" : ",1";
  return result + "]";
}

std::vector<Case> shape_cases() {
  std::vector<Case> cases;
  const auto shape = [&](const char* name, const std::string& dims, std::size_t bytes, const std::string& expected) {
    cases.push_back({name, one("F32", dims, "[0," + std::to_string(bytes) + "]", bytes), expected});
  };
  const std::string count_overflows = "tensor 'w': the element count of F32 [";
  shape("Scalar", "[]", 4, "");
  shape("Zero", "[0]", 0, "");
  shape("ZeroFirst", "[0,3]", 0, "");
  shape("ZeroMiddle", "[2,0,3]", 0, "");
  shape("ZeroLast", "[3,0]", 0, "");
  shape("ZeroBeforeHuge", "[0,4611686018427387904,4]", 0, "");
  shape("HugeBeforeZero", "[4611686018427387904,4,0]", 0, count_overflows + "4611686018427387904, 4, 0] overflows");
  shape("ZeroWithBytes", "[0]", 4, "expected 0 bytes for F32 [0], got 4");
  shape("Rank8", list_of_ones(8), 4, "");
  shape("Rank9", list_of_ones(9), 4, "");
  shape("Rank64", list_of_ones(64), 4, "");
  shape("Rank65", list_of_ones(65), 4, "expected at most 64 dimensions, got more");
  shape("Rank10000", list_of_ones(10'000), 4, "expected at most 64 dimensions, got more");
  shape("WrapsToZero32", "[4294967296,4294967296]", 0, count_overflows);
  shape("WrapsToZero62", "[4611686018427387904,4]", 0, count_overflows);
  shape("WrapsToZeroMixed", "[2147483648,8589934592]", 0, count_overflows);
  shape("WrapsToTwo", "[3,6148914691236517206]", 8, count_overflows);
  shape("WrapsWithFiveDims", "[65536,65536,65536,65536,65536]", 0, count_overflows);
  shape("BytesWrapToZero", "[4611686018427387904]", 0,
        "tensor 'w': the byte count of F32 [4611686018427387904] overflows");
  shape("BitsOverflowBytesFit", "[576460752303423488]", 0, "the byte count");
  shape("LargeExtent", "[281474976710656]", 8,
        "tensor 'w': expected 1125899906842624 bytes for F32 [281474976710656], got 8");
  shape("SizeOneLess", "[2]", 7, "expected 8 bytes for F32 [2], got 7 by data_offsets [0, 7]");
  shape("SizeOneMore", "[2]", 9, "expected 8 bytes for F32 [2], got 9 by data_offsets [0, 9]");
  cases.push_back(
      {"I64ThreeIn12Bytes", one("I64", "[3]", "[0,12]", 12), "tensor 'w': expected 24 bytes for I64 [3], got 12"});
  cases.push_back({"NegativePair", one("F32", "[2,-2]", "[0,8]", 8), "byte 39: shape must be an integer from 0"});
  return cases;
}

std::string two(std::string_view a, std::string_view b, std::size_t data) {
  return safetensors(R"({"a":)" + entry("F32", "[2]", a) + R"(,"b":)" + entry("F32", "[2]", b) + "}",
                     std::string(data, '\x02'));
}

std::vector<Case> offset_cases() {
  std::vector<Case> cases;
  cases.push_back({"InOrder", two("[0,8]", "[8,16]", 16), ""});
  cases.push_back({"Shuffled", two("[8,16]", "[0,8]", 16), ""});
  cases.push_back({"Overlap", two("[0,8]", "[4,12]", 12),
                   "overlap: tensor 'b' with bytes 4 to 12 of the data begins inside tensor 'a' with bytes 0 to 8"});
  cases.push_back({"OverlapByOne", two("[0,8]", "[7,15]", 15), "overlap: tensor 'b'"});
  cases.push_back({"OverlapShuffled", two("[4,12]", "[0,8]", 12), "overlap: tensor 'a'"});
  cases.push_back(
      {"Gap", two("[0,8]", "[12,20]", 20), "gap: bytes 8 to 12 of the data, before tensor 'b', belong to no tensor"});
  cases.push_back({"GapOfOne", two("[0,8]", "[9,17]", 17), "gap: bytes 8 to 9 of the data"});
  cases.push_back({"GapAtFront", two("[1,9]", "[9,17]", 17), "gap: bytes 0 to 1 of the data, before tensor 'a'"});
  cases.push_back({"SameTwice", two("[0,8]", "[0,8]", 8),
                   "same range twice: tensors 'a' and 'b' both have bytes 0 to 8 of the data"});
  cases.push_back({"Reversed", one("F32", "[2]", "[8,0]", 8), "tensor 'w': reversed data_offsets [8, 0]"});
  cases.push_back({"EmptyRange", one("F32", "[2]", "[0,0]", 0), "expected 8 bytes for F32 [2], got 0"});
  cases.push_back({"BeginEqualsEnd", one("F32", "[2]", "[8,8]", 8), "expected 8 bytes for F32 [2], got 0"});
  cases.push_back({"DataOneShort", two("[0,8]", "[8,16]", 15),
                   "truncated: tensor 'b' has bytes 8 to 16 of the data, but the file ends after 15"});
  cases.push_back({"DataOneLong", two("[0,8]", "[8,16]", 17), "trailing bytes: bytes 16 to 17 of the data"});
  cases.push_back({"NoData", two("[0,8]", "[8,16]", 0), "truncated: tensor 'a'"});
  cases.push_back(
      {"EndFarBeyond", one("U8", "[9223372036854775]", "[0,9223372036854775]", 8), "truncated: tensor 'w'"});
  cases.push_back({"NearTwoTo63", one("U8", "[7]", "[9223372036854775800,9223372036854775807]", 7), "gap: bytes 0 to"});
  const auto zero = [&](const char* name, const std::string& z, const std::string& expected) {
    cases.push_back(
        {name,
         safetensors(R"({"a":)" + entry("F32", "[2]", "[0,8]") + R"(,"z":)" + entry("F32", "[0]", z) + R"(,"b":)" +
                         entry("F32", "[2]", "[8,16]") + R"(,"y":)" + entry("U8", "[3,0]", z) + "}",
                     std::string(16, '\x03')),
         expected});
  };
  zero("ZeroAtFront", "[0,0]", "");
  zero("ZeroBetween", "[8,8]", "");
  zero("ZeroAtEnd", "[16,16]", "");
  zero("ZeroInsideAnother", "[4,4]", "overlap: tensor 'z' with bytes 4 to 4");
  zero("ZeroBeyondEnd", "[17,17]", "gap: bytes 16 to 17 of the data, before tensor 'z'");
  cases.push_back(
      {"ZerosOnly",
       safetensors(R"({"a":)" + entry("F32", "[0]", "[0,0]") + R"(,"b":)" + entry("F64", "[2,0]", "[0,0]") + "}"), ""});
  return cases;
}

std::vector<Case> foreign_cases() {
  const std::string filler(100, 'x');
  return {
      {"Zip", "PK\x03\x04\x14" + filler, "expected a safetensors file, got a zip archive"},
      {"Pickle2", "\x80\x02}q" + filler, "got a Python pickle"},
      {"Pickle4", "\x80\x04\x95" + filler, "got a Python pickle"},
      {"Gguf", "GGUF\x03" + filler, "got a GGUF file"},
      {"GitLfsPointer", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "got a Git LFS pointer"},
      {"HtmlDoctype", "<!DOCTYPE html><html>" + filler, "got an HTML page"},
      {"HtmlLowerCase", "\n<!doctype html>" + filler, "got an HTML page"},
      {"HtmlBare", "<HTML><body>" + filler, "got an HTML page"},
      {"XmlError", "<?xml version='1.0'?><Error/>" + filler, "got an HTML page"},
      {"Hdf5", "\x89HDF\r\n\x1a\n" + filler, "got an HDF5 file"},
      {"Numpy", "\x93NUMPY\x01" + filler, "got a NumPy array"},
      {"Gzip", "\x1f\x8b\x08" + filler, "got a gzip archive"},
      {"JsonIndex", "{\"weight_map\":{}}", "got JSON text"},
      {"ShortHtml", "<html>", "got an HTML page"},
  };
}

std::vector<Case> all_cases() {
  std::vector<Case> all;
  const auto add = [&](const char* group, std::vector<Case> cases) {
    for (Case& c : cases) {
      c.name = std::string(group) + "_" + c.name;
      all.push_back(std::move(c));
    }
  };
  add("Prefix", prefix_cases());
  add("Text", text_cases());
  add("Structure", structure_cases());
  add("Number", number_cases());
  add("Dtype", dtype_cases());
  add("Shape", shape_cases());
  add("Offsets", offset_cases());
  add("Foreign", foreign_cases());
  return all;
}

class SafetensorsFile : public testing::TestWithParam<Case> {};

// From memory, read and mapped: the same verdict, and an error that starts with the file's name.
TEST_P(SafetensorsFile, IsJudgedAlike) {
  const Case& c = GetParam();
  const Folder folder;
  const std::string path = folder / "file.safetensors";
  write_file(path, c.bytes);
  const std::string messages[] = {
      error_of([&] { Checkpoint::from_bytes(as_bytes(c.bytes), path); }),
      error_of([&] { Checkpoint::open(path); }),
      error_of([&] { Checkpoint::open(path, {.mode = Mode::map}); }),
  };
  for (const std::string& message : messages) {
    if (c.expected.empty()) {
      EXPECT_EQ(message, "");
    } else {
      EXPECT_TRUE(contains(message, c.expected)) << message << "\nexpected: " << c.expected;
      EXPECT_EQ(message.compare(0, path.size() + 2, path + ": "), 0) << message;
      EXPECT_LT(message.size(), path.size() + 1000) << "long input must be cut";
      EXPECT_TRUE(std::none_of(message.begin(), message.end(), [](char x) { return std::iscntrl(x) && x != '\n'; }));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Table, SafetensorsFile, testing::ValuesIn(all_cases()),
                         [](const auto& param_info) { return param_info.param.name; });

TEST(SafetensorsHeader, TableHasAtLeast200Cases) { EXPECT_GE(all_cases().size(), 200u); }

const std::string rich = safetensors(
    R"({"__metadata__":{"k":"v\u00e9"},"b":{"dtype":"BF16","shape":[3],"data_offsets":[12,18]},)"
    R"("\u0061":{"dtype":"F32","shape":[3],"data_offsets":[0,12]},"z":{"dtype":"I64","shape":[0,2],"data_offsets":[18,18]}} )",
    std::string(18, '\x05'));

// What a reader of a valid file may touch.
void touch(const Checkpoint& checkpoint) {
  for (const TensorInfo& tensor : checkpoint.tensors()) {
    ASSERT_EQ(checkpoint.find(tensor.name), &tensor);
    std::vector<std::byte> bytes(static_cast<std::size_t>(tensor.bytes));
    checkpoint.read_bytes(tensor, bytes);
    Index count = 1;
    for (const Index extent : tensor.shape) count *= extent;
    ASSERT_EQ(count * bits(tensor.dtype), tensor.bytes * 8);
  }
}

TEST(SafetensorsHeader, EveryTruncationIsAnError) {
  for (std::size_t size = 0; size < rich.size(); ++size) {
    const std::vector<char> cut(rich.begin(), rich.begin() + static_cast<std::ptrdiff_t>(size));  // its own allocation
    EXPECT_NE(error_of([&] { Checkpoint::from_bytes(std::as_bytes(std::span(cut))); }), "") << size;
  }
}

TEST(SafetensorsHeader, EveryByteFlipIsAnErrorOrSafe) {
  int errors = 0;
  for (std::size_t i = 0; i < rich.size(); ++i) {
    for (int value = 0; value < 256; ++value) {
      std::vector<char> bytes(rich.begin(), rich.end());
      bytes[i] = static_cast<char>(value);
      errors += error_of([&] { touch(Checkpoint::from_bytes(std::as_bytes(std::span(bytes)))); }) != "" ? 1 : 0;
    }
  }
  EXPECT_GT(errors, static_cast<int>(rich.size()) * 100);
}

TEST(SafetensorsHeader, EveryByteRemovedOrDoubledIsAnErrorOrSafe) {
  for (std::size_t i = 0; i < rich.size(); ++i) {
    std::string less = rich;
    less.erase(i, 1);
    std::string more = rich;
    more.insert(i, 1, rich[i]);
    EXPECT_NE(error_of([&] { touch(Checkpoint::from_bytes(as_bytes(less))); }), "") << i;
    EXPECT_NE(error_of([&] { touch(Checkpoint::from_bytes(as_bytes(more))); }), "") << i;
  }
}

TEST(SafetensorsHeader, KeepsTheOrderOfTheHeaderAndAllFields) {
  const Checkpoint checkpoint = Checkpoint::from_bytes(as_bytes(rich));
  ASSERT_EQ(checkpoint.tensors().size(), 3u);
  const TensorInfo& b = checkpoint.tensors()[0];
  const TensorInfo& a = checkpoint.tensors()[1];
  const TensorInfo& z = checkpoint.tensors()[2];
  EXPECT_EQ(b.name, "b");
  EXPECT_EQ(a.name, "a");
  EXPECT_EQ(b.dtype, Dtype::bf16);
  EXPECT_EQ(a.count, 3);
  EXPECT_EQ(a.bytes, 12);
  EXPECT_EQ(b.offset - a.offset, 12);
  EXPECT_EQ(shape_text(z.shape), "[0, 2]");
  EXPECT_EQ(z.bytes, 0);
  EXPECT_EQ(checkpoint.metadata().at("k"), "v\xc3\xa9");
}

std::string many(int count, bool is_same_range) {
  std::string header = "{";
  for (int i = 0; i < count; ++i) {
    const int begin = is_same_range ? 0 : i;
    header += (i == 0 ? "" : ",") + ("\"t" + std::to_string(i)) + R"(":{"dtype":"U8","shape":[1],"data_offsets":[)" +
              std::to_string(begin) + "," + std::to_string(begin + 1) + "]}";
  }
  return safetensors(header + "}", std::string(is_same_range ? 1 : static_cast<std::size_t>(count), 'x'));
}

TEST(SafetensorsHeader, ManyTensors) {
  const std::string bytes = many(300'000, false);
  const Checkpoint checkpoint = Checkpoint::from_bytes(as_bytes(bytes));
  EXPECT_EQ(checkpoint.tensors().size(), 300'000u);
  EXPECT_EQ(checkpoint.info("t299999").offset, checkpoint.info("t0").offset + 299'999);
}

TEST(SafetensorsHeader, ManyTensorsOnTheSameBytes) {
  EXPECT_TRUE(contains(error_of([] { Checkpoint::from_bytes(as_bytes(many(10, true))); }), "same range twice"));
  const std::string bytes = many(100'000, true);
  EXPECT_TRUE(contains(error_of([&] { Checkpoint::from_bytes(as_bytes(bytes)); }), "same range twice"));
}

TEST(SafetensorsHeader, TooManyMetadataPairs) {
  std::string header = R"({"__metadata__":{)";
  for (int i = 0; i <= 65536; ++i) header += (i == 0 ? "\"" : ",\"") + std::to_string(i) + "\":\"\"";
  const std::string bytes = safetensors(header + "}}");
  EXPECT_TRUE(contains(error_of([&] { Checkpoint::from_bytes(as_bytes(bytes)); }), "expected at most 65536 pairs"));
}

TEST(SafetensorsHeader, OneMillionFieldsInAnEntry) {
  std::string header = R"({"w":{"dtype":"U8","shape":[0],"data_offsets":[0,0])";
  for (int i = 0; i < 1'000'000; ++i) header += ",\"x" + std::to_string(i) + "\":0";
  const std::string bytes = safetensors(header + "}}");
  EXPECT_EQ(error_of([&] { Checkpoint::from_bytes(as_bytes(bytes)); }), "");
}

}  // namespace
}  // namespace aulos::io
