// Writes models for ONNX Runtime: a graph of operators as the protocol buffer that ONNX files are. The field numbers
// are those of onnx.proto.
#pragma once

#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

namespace peers {

// A protocol buffer message in its wire format: each field is a number, a kind, and a value.
class Message {
 public:
  Message& number(int field, std::int64_t value) {
    varint(static_cast<std::uint64_t>(field) << 3);
    varint(static_cast<std::uint64_t>(value));
    return *this;
  }
  Message& real(int field, float value) {
    varint((static_cast<std::uint64_t>(field) << 3) | 5);
    char bytes[sizeof value];
    std::memcpy(bytes, &value, sizeof value);
    bytes_.append(bytes, sizeof value);
    return *this;
  }
  Message& text(int field, std::string_view value) {
    varint((static_cast<std::uint64_t>(field) << 3) | 2);
    varint(value.size());
    bytes_ += value;
    return *this;
  }
  Message& message(int field, const Message& value) { return text(field, value.bytes_); }

  const std::string& bytes() const { return bytes_; }

 private:
  void varint(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes_ += static_cast<char>((value & 0x7f) | 0x80);
    bytes_ += static_cast<char>(value);
  }

  std::string bytes_;
};

// An attribute of an operator.
class Attribute {
 public:
  Attribute(std::string_view name, std::int64_t value) { message_.text(1, name).number(3, value).number(20, 2); }
  Attribute(std::string_view name, int value) : Attribute(name, static_cast<std::int64_t>(value)) {}
  Attribute(std::string_view name, float value) { message_.text(1, name).real(2, value).number(20, 1); }
  Attribute(std::string_view name, const char* value) { message_.text(1, name).text(4, value).number(20, 3); }
  Attribute(std::string_view name, std::initializer_list<std::int64_t> values) {
    message_.text(1, name);
    for (const std::int64_t value : values) message_.number(8, value);
    message_.number(20, 7);
  }

  const Message& message() const { return message_; }

 private:
  Message message_;
};

// Values are names, as in ONNX.
class OnnxGraph {
 public:
  using Shape = std::vector<std::int64_t>;
  static constexpr std::string_view microsoft = "com.microsoft";

  std::string input(std::string_view name, const Shape& shape) {
    graph_.message(11, value_info(name, shape));
    return std::string(name);
  }

  std::string constant(const Shape& shape, const float* values) { return constant(1, shape, values, sizeof(float)); }
  std::string constant(const Shape& shape, const std::int8_t* values) { return constant(3, shape, values, 1); }
  std::string constant(const std::vector<std::int64_t>& values) {
    return constant(7, {static_cast<std::int64_t>(values.size())}, values.data(), sizeof(std::int64_t));
  }
  std::string scalar(float value) { return constant({}, &value); }

  // The results of an operator; one is the usual case.
  std::vector<std::string> split(std::string_view type, const std::vector<std::string>& inputs, int results,
                                 const std::vector<Attribute>& attributes = {}, std::string_view domain = {}) {
    Message node;
    for (const std::string& name : inputs) node.text(1, name);
    std::vector<std::string> names;
    for (int i = 0; i < results; ++i) node.text(2, names.emplace_back(fresh()));
    node.text(4, type);
    for (const Attribute& attribute : attributes) node.message(5, attribute.message());
    if (!domain.empty()) node.text(7, domain);
    graph_.message(1, node);
    return names;
  }
  std::string op(std::string_view type, const std::vector<std::string>& inputs,
                 const std::vector<Attribute>& attributes = {}, std::string_view domain = {}) {
    return split(type, inputs, 1, attributes, domain)[0];
  }

  // The model whose result "y" is `value`.
  std::string model(const std::string& value, const Shape& shape) && {
    Message identity;
    identity.text(1, value).text(2, "y").text(4, "Identity");
    graph_.message(1, identity).text(2, "work").message(12, value_info("y", shape));
    Message model, standard, extension;
    model.number(1, 8).message(7, graph_);
    model.message(8, standard.text(1, "").number(2, 17)).message(8, extension.text(1, microsoft).number(2, 1));
    return model.bytes();
  }

 private:
  std::string fresh() { return "v" + std::to_string(count_++); }

  std::string constant(int type, const Shape& shape, const void* values, std::size_t element) {
    Message tensor;
    std::size_t bytes = element;
    for (const std::int64_t extent : shape) {
      tensor.number(1, extent);
      bytes *= static_cast<std::size_t>(extent);
    }
    const std::string name = fresh();
    tensor.number(2, type).text(8, name).text(9, {static_cast<const char*>(values), bytes});
    graph_.message(5, tensor);
    return name;
  }

  static Message value_info(std::string_view name, const Shape& shape) {
    Message dims, tensor, type, info;
    for (const std::int64_t extent : shape) dims.message(1, Message().number(1, extent));
    return info.text(1, name).message(2, type.message(1, tensor.number(1, 1).message(2, dims)));
  }

  Message graph_;
  int count_ = 0;
};

}  // namespace peers
