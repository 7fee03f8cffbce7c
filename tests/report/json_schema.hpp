// SPDX-License-Identifier: MIT
/// \file
/// Checks JSON by the part of JSON Schema that docs/schema/ uses, and refuses a schema that uses more.
#pragma once

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>

namespace allot::test {

/// Reads a schema of docs/schema/.
inline nlohmann::json read_schema(const std::string& name) {
  return nlohmann::json::parse(
      std::ifstream{std::filesystem::path{ALLOT_SOURCE_ROOT} / "docs/schema" / name});
}

inline bool has_type(const nlohmann::json& json, const std::string& type) {
  if (type == "object") return json.is_object();
  if (type == "array") return json.is_array();
  if (type == "string") return json.is_string();
  if (type == "integer") return json.is_number_integer();
  if (type == "number") return json.is_number();
  if (type == "boolean") return json.is_boolean();
  throw std::invalid_argument{"a type that this check does not know: " + type};
}

/// Returns what is wrong, empty if nothing is. \param path  of the value, as in `usage.free`
inline std::string schema_error(const nlohmann::json& schema, const nlohmann::json& json,
                                const std::string& path = "") {
  const auto inner = [&](const std::string& key) { return path.empty() ? key : path + "." + key; };
  for (const auto& rule : schema.items()) {
    const std::string& name = rule.key();
    const nlohmann::json& value = rule.value();
    std::string error;
    if (name == "const") {
      if (json != value) return path + " is not " + value.dump();
    } else if (name == "type") {
      if (!has_type(json, value)) return path + " is not a " + value.get<std::string>();
    } else if (name == "minimum") {
      if (json < value) return path + " is below " + value.dump();
    } else if (name == "maximum") {
      if (json > value) return path + " is above " + value.dump();
    } else if (name == "required") {
      for (const nlohmann::json& key : value)
        if (!json.contains(key)) return inner(key) + " is missing";
    } else if (name == "properties") {
      for (const auto& property : value.items())
        if (error.empty() && json.contains(property.key()))
          error = schema_error(property.value(), json[property.key()], inner(property.key()));
    } else if (name == "additionalProperties") {
      for (const auto& member : json.items())
        if (error.empty() && !schema.value("properties", nlohmann::json{}).contains(member.key()))
          error = schema_error(value, member.value(), inner(member.key()));
    } else if (name == "enum") {
      if (std::find(value.begin(), value.end(), json) == value.end())
        return path + " is none of " + value.dump();
    } else if (name == "$ref") {
      const auto target = value.get<std::string>();
      const std::size_t hash = target.find('#');
      const nlohmann::json file = read_schema(target.substr(0, hash));
      error =
          schema_error(file.at(nlohmann::json::json_pointer{target.substr(hash + 1)}), json, path);
    } else if (name == "items") {
      for (std::size_t i = 0; i < json.size() && error.empty(); ++i)
        error = schema_error(value, json[i], inner(std::to_string(i)));
    } else if (name != "$schema" && name != "title" && name != "description") {
      throw std::invalid_argument{"a rule that this check does not know: " + name};
    }
    if (!error.empty()) return error;
  }
  return "";
}

}  // namespace allot::test
