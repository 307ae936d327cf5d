#include "inspect/report.hpp"

#include <algorithm>
#include <array>
#include <set>
#include <string_view>
#include <vector>

#include "aulos/core/text.hpp"
#include "aulos/io/json.hpp"
#include "common/progress.hpp"
#include "inspect/tree.hpp"

namespace inspect {

namespace {

using aulos::concat_text;
using aulos::io::Checkpoint;
using aulos::io::printable;

// Three digits and a unit: "11.9 B", "340 M", "96".
std::string amount(double value, const std::array<const char*, 6>& units) {
  std::size_t unit = 0;
  for (; value >= 999.5 && unit + 1 < units.size(); ++unit) value /= 1000;
  const int decimals = unit == 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
  return aulos_examples::format_number(value, decimals) + units[unit];
}
std::string values_text(Index count) { return amount(static_cast<double>(count), {"", " k", " M", " B", " T", " P"}); }
std::string bytes_text(double bytes) { return amount(bytes, {" B", " kB", " MB", " GB", " TB", " PB"}); }
std::string bytes_text(Index bytes) { return bytes_text(static_cast<double>(bytes)); }

// "11,901,408,320"
std::string grouped(Index number) {
  std::string text = std::to_string(number);
  for (std::size_t at = text.size(); at > 3; at -= 3) text.insert(at - 3, 1, ',');
  return text;
}

std::string plural(Index count, const char* noun) {
  return concat_text({grouped(count), " ", noun, count == 1 ? "" : "s"});
}

// The fields of a configuration as "name value" each; those of an inner object below its name.
void append_fields(const aulos::io::json::Value& json, const std::string& name, std::vector<std::string>& fields) {
  if (json.is_object()) {
    for (const auto& [key, value] : json.members())
      if (key.front() != '_') append_fields(value, name.empty() ? key : name + "." + key, fields);
    return;
  }
  std::string text;
  if (json.is_array()) {
    for (const auto& item : json.items()) {
      std::vector<std::string> one;
      append_fields(item, "", one);
      text += (text.empty() ? "" : " ") + one.front();
    }
    text = "[" + text + "]";
  } else if (json.is_string()) {
    text = json.as<std::string>();
  } else if (json.is_null()) {
    text = "none";
  } else if (json.is_bool()) {
    text = json.as<bool>() ? "true" : "false";
  } else {
    aulos::io::json::Writer number;
    json.is_int() ? number.value(json.as<Index>()) : number.value(json.as<double>());
    text = number.take();
  }
  fields.push_back(name.empty() ? printable(text) : name + " " + printable(text));
}

constexpr std::size_t columns = 100, margin = 10;

// A line with a label, continued below itself.
void append_line(std::string& out, const std::string& label, const std::vector<std::string>& pieces) {
  std::string line = "  " + label;
  line.resize(std::max(margin, line.size() + 1), ' ');
  bool is_first = true;
  for (const std::string& piece : pieces) {
    if (!is_first) line += ",";
    if (!is_first && line.size() + 2 + piece.size() > columns) {
      out += line + "\n";
      line = std::string(margin, ' ');
    } else if (!is_first) {
      line += " ";
    }
    line += piece;
    is_first = false;
  }
  out += line + "\n";
}

std::string system_text(const Part& part) {
  return part.layout->system + (part.description.variant.empty() ? "" : " (" + part.description.variant + ")");
}

std::string below_text(const Part& part) {
  return part.prefix.empty() ? part.layout->names
                             : concat_text({part.layout->names, " below ", aulos::io::quote(part.prefix)});
}

void append_part(std::string& out, const Part& part, const ReportOptions& options) {
  std::vector<std::string> fields;
  append_fields(aulos::io::json::parse(part.description.config), "", fields);
  append_line(out, "config", fields);
  try {
    const Planned planned = part.description.plan(options.request);
    const aulos::Plan& plan = planned.plan;
    append_line(out, "plan",
                {planned.inputs + ": " + grouped(plan.parameters) + " parameters",
                 amount(plan.flops, {"", " k", " M", " G", " T", " P"}) + "FLOP",
                 bytes_text(static_cast<double>(plan.peak_bytes)) + " of activations",
                 "weights " + bytes_text(4 * plan.parameters) + " as F32 or " + bytes_text(2 * plan.parameters) +
                     " packed as BF16"});
  } catch (const aulos::Error& error) {
    append_line(out, "plan", {std::string("none: ") + error.what()});
  }
}

void append_problems(std::string& out, const char* kind, const std::vector<aulos::io::LoadReport::Problem>& problems,
                     const ReportOptions& options) {
  const std::size_t shown = options.full ? problems.size() : std::min<std::size_t>(problems.size(), 5);
  for (std::size_t i = 0; i < shown; ++i)
    out += concat_text({"            ", kind, " ", aulos::io::quote(problems[i].name), ": ", problems[i].detail, "\n"});
  if (shown < problems.size())
    out += concat_text({"            ", kind, ": ", problems.size() - shown, " more, see --full\n"});
}

void append_nearest(std::string& out, const Recognition& recognition, const ReportOptions& options) {
  if (!recognition.golden.empty()) {
    append_line(out, "system", {"none: a golden case of " + printable(recognition.golden) + ", which verify computes"});
    return;
  }
  if (recognition.nearest.empty()) {
    append_line(out, "system", {"unknown", "nearest none: the names are not those of a known system"});
    return;
  }
  const Part& part = recognition.nearest.front();
  const aulos::io::LoadReport& difference = recognition.difference;
  const auto append_open = [&] {
    if (!part.open.empty()) append_line(out, "open", {part.open, "in a config.json beside the file, say"});
  };
  // Neither a name too many nor, of a smaller model, one that would fit: only the configuration is not told.
  const bool is_of_system = difference.unexpected.empty() && 4 * part.found >= part.wanted;
  if (!part.open.empty() && is_of_system) {
    append_line(out, "system", {part.layout->system + " of an unknown configuration", below_text(part)});
    return append_open();
  }
  append_line(out, "system", {"unknown", "nearest " + system_text(part), below_text(part)});
  append_open();
  append_line(out, "differs",
              {plural(static_cast<Index>(difference.missing.size()), "name") + " missing",
               grouped(static_cast<Index>(difference.unexpected.size())) + " unexpected",
               grouped(static_cast<Index>(difference.wrong_shape.size())) + " of wrong shape",
               grouped(static_cast<Index>(difference.wrong_dtype.size())) + " of wrong dtype"});
  append_problems(out, "missing", difference.missing, options);
  append_problems(out, "unexpected", difference.unexpected, options);
  append_problems(out, "wrong shape", difference.wrong_shape, options);
  append_problems(out, "wrong dtype", difference.wrong_dtype, options);
  const char* label = "names";
  for (const Part& other : recognition.nearest) {
    append_line(out, label,
                {concat_text({system_text(other), ": has ", other.found, " of ", other.wanted, " names"}),
                 concat_text({other.fitting, " with the right shape"})});
    label = "";
  }
}

// The first parts of the names outside the known systems.
std::string top_names(const Checkpoint& checkpoint, const Recognition& recognition) {
  std::set<std::string_view> names;
  for (const auto& tensor : checkpoint.tensors()) {
    const auto holds = [&](const Part& part) { return tensor.name.substr(0, part.prefix.size()) == part.prefix; };
    if (std::none_of(recognition.parts.begin(), recognition.parts.end(), holds))
      names.insert(tensor.name.substr(0, tensor.name.find('.')));
  }
  std::string text;
  std::size_t shown = 0;
  for (const std::string_view name : names) {
    if (++shown > 8) return text + " ...";
    text += (text.empty() ? "" : ", ") + printable(name, 80);
  }
  return text;
}

struct Row {
  std::string name, values, bytes, dtype, note;
};

std::string shape_text(const Module& tensor) { return aulos::io::shape_text(tensor.tensor->shape); }

void append_rows(const Module& module, const std::string& prefix, Index level, const ReportOptions& options,
                 std::vector<Row>& rows) {
  const std::string name = prefix + printable(module.name, 80);
  if (!options.full && module.repeat == 1 && module.modules.size() == 1 && module.modules[0].tensor == nullptr)
    return append_rows(module.modules[0], name + ".", level, options, rows);

  Row row{std::string(2 * static_cast<std::size_t>(level), ' ') + name, values_text(module.values * module.repeat),
          bytes_text(module.bytes * module.repeat), dtype_names(module.dtypes), ""};
  const auto note = [&](const std::string& text) { row.note += (row.note.empty() ? "" : ", ") + text; };
  if (module.repeat > 1) note(concat_text({"x", module.repeat, ", each ", values_text(module.values)}));
  if (module.tensor != nullptr) note(shape_text(module));
  const bool is_layer =
      module.modules.size() <= 4 && std::all_of(module.modules.begin(), module.modules.end(),
                                                [](const Module& child) { return child.tensor != nullptr; });
  bool open = module.tensor == nullptr && (options.full || level + 1 < options.depth);
  if (!options.full && is_layer) {
    open = false;
    for (const bool of_weight : {true, false})  // first, as people write it
      for (const Module& child : module.modules)
        if ((child.name == "weight") == of_weight) note(printable(child.name, 80) + " " + shape_text(child));
  } else if (module.tensor == nullptr && !open) {
    note(plural(module.tensors, "tensor"));
  }
  rows.push_back(std::move(row));
  if (!open) return;
  for (const Module& child : module.modules) append_rows(child, "", level + 1, options, rows);
}

void append_tree(std::string& out, const Module& root, const ReportOptions& options) {
  std::vector<Row> rows{{"module", "values", "bytes", "dtype", ""}};
  for (const Module& module : root.modules) append_rows(module, "", 0, options, rows);
  std::size_t name = 0, dtype = 0;
  for (const Row& row : rows) {
    name = std::max(name, row.name.size());
    dtype = std::max(dtype, row.dtype.size());
  }
  const auto left = [](const std::string& text, std::size_t width) {
    return text + std::string(width - text.size(), ' ');
  };
  const auto right = [](const std::string& text, std::size_t width) {
    return std::string(width - std::min(width, text.size()), ' ') + text;
  };
  out += '\n';
  for (const Row& row : rows) {
    std::string line = "  " + left(row.name, name) + right(row.values, 9) + right(row.bytes, 10) + "  " +
                       left(row.dtype, dtype) + "  " + row.note;
    line.resize(line.find_last_not_of(' ') + 1);
    out += line + '\n';
  }
}

using aulos::io::json::Writer;

void write_value(Writer& json, const aulos::io::json::Value& value) {
  if (value.is_object()) {
    json.begin_object();
    for (const auto& [key, member] : value.members()) {
      json.key(key);
      write_value(json, member);
    }
    json.end_object();
  } else if (value.is_array()) {
    json.begin_array();
    for (const auto& item : value.items()) write_value(json, item);
    json.end_array();
  } else if (value.is_string()) {
    json.value(value.as<std::string>());
  } else if (value.is_bool()) {
    json.value(value.as<bool>());
  } else if (value.is_int()) {
    json.value(value.as<Index>());
  } else if (value.is_number()) {
    json.value(value.as<double>());
  } else {
    json.null();
  }
}

void write_part(Writer& json, const Part& part, const ReportOptions& options) {
  json.begin_object();
  json.key("system").value(part.layout->system);
  json.key("variant").value(part.description.variant);
  json.key("names").value(part.layout->names);
  json.key("prefix").value(part.prefix);
  json.key("tensors").value(part.tensors);
  json.key("wanted").value(part.wanted);
  json.key("found").value(part.found);
  json.key("fitting").value(part.fitting);
  json.key("loads").value(part.loads);
  if (!part.loads) json.key("open").value(part.open);
  json.key("config");
  write_value(json, aulos::io::json::parse(part.description.config));
  if (part.loads) {
    json.key("plan").begin_object();
    try {
      const Planned planned = part.description.plan(options.request);
      json.key("inputs").value(planned.inputs);
      json.key("parameters").value(planned.plan.parameters);
      json.key("flops").value(planned.plan.flops);
      json.key("peak_bytes").value(planned.plan.peak_bytes);
      json.key("held_bytes").value(planned.plan.held_bytes);
      json.key("scratch_bytes_per_thread").value(planned.plan.scratch_bytes);
    } catch (const aulos::Error& error) {
      json.key("error").value(error.what());
    }
    json.end_object();
  }
  json.end_object();
}

void write_problems(Writer& json, const char* kind, const std::vector<aulos::io::LoadReport::Problem>& problems) {
  json.key(kind).begin_object();
  for (const auto& problem : problems) json.key(problem.name).value(problem.detail);
  json.end_object();
}

void write_modules(Writer& json, const Module& module) {
  json.begin_array();
  for (const Module& child : module.modules) {
    json.begin_object();
    json.key("name").value(child.name);
    if (child.tensor != nullptr) {
      json.key("dtype").value(aulos::name(child.tensor->dtype));
      json.key("shape").begin_array();
      for (const Index extent : child.tensor->shape) json.value(extent);
      json.end_array();
    } else {
      json.key("repeat").value(child.repeat);
      json.key("values").value(child.values);
      json.key("bytes").value(child.bytes);
      json.key("modules");
      write_modules(json, child);
    }
    json.end_object();
  }
  json.end_array();
}

}  // namespace

std::string text_report(const Checkpoint& checkpoint, const Recognition& recognition, const ReportOptions& options) {
  const Module all = module_tree(checkpoint, options.full ? Repeated::list : Repeated::fold);
  std::string out = printable(checkpoint.path(), 4096) + "\n";
  append_line(out, "holds",
              {plural(all.tensors, "tensor"), values_text(all.values) + " values",
               all.tensors == 0 ? "no bytes" : bytes_text(all.bytes) + " of " + dtype_names(all.dtypes)});
  for (const Part& part : recognition.parts) {
    std::vector<std::string> words{system_text(part), below_text(part)};
    if (!part.prefix.empty()) words.push_back(plural(part.tensors, "tensor"));
    append_line(out, "system", words);
    append_part(out, part, options);
  }
  if (recognition.parts.empty() && all.tensors > 0) append_nearest(out, recognition, options);
  if (!recognition.parts.empty() && recognition.others > 0)
    append_line(
        out, "besides",
        {plural(recognition.others, "tensor") + " of no known system, below " + top_names(checkpoint, recognition)});
  if (all.tensors > 0) append_tree(out, all, options);
  return out;
}

std::string json_report(const Checkpoint& checkpoint, const Recognition& recognition, const ReportOptions& options) {
  const Module root = module_tree(checkpoint, options.full ? Repeated::list : Repeated::fold);
  Writer json;
  json.begin_object();
  json.key("file").value(checkpoint.path());
  json.key("tensors").value(root.tensors);
  json.key("values").value(root.values);
  json.key("bytes").value(root.bytes);
  json.key("dtypes").value(dtype_names(root.dtypes));
  if (!recognition.golden.empty()) json.key("golden").value(recognition.golden);
  json.key("systems").begin_array();
  for (const Part& part : recognition.parts) write_part(json, part, options);
  json.end_array();
  json.key("others").value(recognition.others);
  json.key("nearest").begin_array();
  for (const Part& part : recognition.nearest) write_part(json, part, options);
  json.end_array();
  if (!recognition.nearest.empty()) {
    json.key("difference").begin_object();
    write_problems(json, "missing", recognition.difference.missing);
    write_problems(json, "unexpected", recognition.difference.unexpected);
    write_problems(json, "wrong_shape", recognition.difference.wrong_shape);
    write_problems(json, "wrong_dtype", recognition.difference.wrong_dtype);
    json.end_object();
  }
  json.key("modules");
  write_modules(json, root);
  json.end_object();
  return json.take() + "\n";
}

}  // namespace inspect
