#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <exception>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>

#include "base/error.hpp"
#include "base/file.hpp"
#include "model/hf_folder.hpp"
#include "model/weights.hpp"
#include "storage/publish.hpp"
#include "storage/safetensors.hpp"

namespace rondo::model {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr std::array kTokenizerFiles = {"tokenizer.json",
                                        "tokenizer.model",
                                        "tokenizer_config.json",
                                        "special_tokens_map.json",
                                        "added_tokens.json",
                                        "vocab.json",
                                        "vocab.txt",
                                        "merges.txt",
                                        "tekken.json",
                                        "chat_template.jinja",
                                        "chat_template.json"};

// The JSON object of a file, or an empty one where there is no such file.
Json read_json(const std::string& path) {
  if (!fs::exists(path)) return Json::object();
  try {
    Json json = Json::parse(base::read_text(path));
    if (json.is_object()) return json;
  } catch (const Json::exception& error) {
    base::fail_user("{} is not valid JSON: {}.", path, error.what());
  }
  base::fail_user("{}: expected a JSON object.", path);
}

// The text of a token in tokenizer_config.json: plain or as an object with "content".
std::optional<std::string> token_text(const Json& config, const char* key) {
  if (!config.contains(key)) return {};
  const Json& token = config[key];
  if (token.is_string()) return token.get<std::string>();
  if (token.is_object() && token.contains("content") && token["content"].is_string()) {
    return token["content"].get<std::string>();
  }
  return {};
}

std::optional<int64_t> id_of(const Json& tokenizer, const std::optional<std::string>& text) {
  if (!text) return {};
  if (tokenizer.contains("added_tokens")) {
    for (const Json& token : tokenizer["added_tokens"]) {
      if (token.value("content", "") == *text) return token.value("id", int64_t{-1});
    }
  }
  const auto vocab = Json::json_pointer("/model/vocab");
  if (!tokenizer.contains(vocab)) return {};
  const Json& words = tokenizer[vocab];
  if (words.is_object() && words.contains(*text)) return words[*text].get<int64_t>();
  return {};
}

// The ids under `key`: a number, a list, or nothing.
std::vector<int64_t> ids_under(const Json& config, const char* key) {
  if (!config.contains(key)) return {};
  const Json& value = config[key];
  if (value.is_number_integer()) return {value.get<int64_t>()};
  std::vector<int64_t> ids;
  if (value.is_array()) {
    for (const Json& id : value) {
      if (id.is_number_integer()) ids.push_back(id.get<int64_t>());
    }
  }
  return ids;
}

std::string generation_config(const std::string& tokenizer_folder, const SpecialIds& ids) {
  Json json = Json::object();
  if (!tokenizer_folder.empty()) json = read_json(tokenizer_folder + "/generation_config.json");
  json.erase("_from_model_config");
  json.erase("transformers_version");
  if (ids.bos) json["bos_token_id"] = *ids.bos;
  if (ids.pad) json["pad_token_id"] = *ids.pad;
  if (!ids.eos.empty()) json["eos_token_id"] = ids.eos;
  return json.dump(2) + "\n";
}

void write_file(const std::string& path, std::string_view text) {
  base::File file = base::File::create(path);
  file.write_at(0, std::as_bytes(std::span(text)));
  file.sync();
  file.close();
}

storage::Dtype dtype_of(ExportType type) {
  if (type == ExportType::kBf16) return storage::Dtype::kBf16;
  return type == ExportType::kFp16 ? storage::Dtype::kF16 : storage::Dtype::kF32;
}

std::string_view torch_name(ExportType type) {
  if (type == ExportType::kBf16) return "bfloat16";
  return type == ExportType::kFp16 ? "float16" : "float32";
}

void write_weights(const Shape& shape, const ExportOptions& options, const std::string& folder,
                   const FetchParameter& fetch) {
  const std::vector<parallel::Parameter> parameters = all_parameters(shape);
  std::vector<storage::SafetensorsWriter::Tensor> tensors;
  for (const parallel::Parameter& parameter : parameters) {
    tensors.push_back({parameter.name, parameter.shape});
  }
  storage::SafetensorsWriter writer(folder, tensors, dtype_of(options.type),
                                    options.max_file_bytes);
  for (const parallel::Parameter& parameter : parameters) {
    const at::Tensor values = fetch(parameter);
    RONDO_CHECK(values.is_contiguous() && values.numel() == parameter.numel(), "{}",
                parameter.name);
    writer.write(parameter.name,
                 {values.const_data_ptr<float>(), static_cast<size_t>(values.numel())});
  }
  writer.finish();
}

// The tokenizer's files, with the trained chat template where it is another than theirs.
void write_tokenizer(const ExportOptions& options, const std::string& folder) {
  if (options.tokenizer_folder.empty()) return;
  const bool replaced = !options.chat_template.empty() &&
                        options.chat_template != chat_template_of(options.tokenizer_folder);
  for (const std::string name : kTokenizerFiles) {
    const std::string from = options.tokenizer_folder + "/" + name;
    if (!fs::exists(from) || (replaced && name.starts_with("chat_template"))) continue;
    if (replaced && name == "tokenizer_config.json") {
      Json config = read_json(from);
      config.erase("chat_template");
      write_file(folder + "/" + name, config.dump(2) + "\n");
      continue;
    }
    write_file(folder + "/" + name, base::read_text(from));
  }
  if (replaced) write_file(folder + "/chat_template.jinja", options.chat_template);
}

}  // namespace

std::string chat_template_of(const std::string& tokenizer_folder) {
  const std::string file = tokenizer_folder + "/chat_template.jinja";
  if (fs::exists(file)) return base::read_text(file);
  const Json config = read_json(tokenizer_folder + "/tokenizer_config.json");
  if (!config.contains("chat_template")) return {};
  const Json& given = config["chat_template"];
  if (given.is_string()) return given.get<std::string>();
  if (!given.is_array()) return {};
  for (const Json& entry : given) {
    if (entry.is_object() && entry.value("name", "") == "default") {
      return entry.value("template", "");
    }
  }
  return {};
}

SpecialIds read_special_ids(const std::string& tokenizer_folder,
                            const std::vector<int64_t>& end_of_turn) try {
  SpecialIds ids;
  const auto add_eos = [&](int64_t id) {
    if (std::ranges::find(ids.eos, id) == ids.eos.end()) ids.eos.push_back(id);
  };
  for (const int64_t id : end_of_turn) add_eos(id);
  if (tokenizer_folder.empty()) return ids;

  const Json config = read_json(tokenizer_folder + "/tokenizer_config.json");
  const Json tokenizer = read_json(tokenizer_folder + "/tokenizer.json");
  ids.bos = id_of(tokenizer, token_text(config, "bos_token"));
  ids.pad = id_of(tokenizer, token_text(config, "pad_token"));
  if (const auto eos = id_of(tokenizer, token_text(config, "eos_token"))) add_eos(*eos);
  for (const char* name : {"/generation_config.json", "/config.json"}) {
    const Json other = read_json(tokenizer_folder + name);
    for (const int64_t id : ids_under(other, "eos_token_id")) add_eos(id);
    const std::vector<int64_t> bos = ids_under(other, "bos_token_id");
    if (!ids.bos && !bos.empty()) ids.bos = bos.front();
    const std::vector<int64_t> pad = ids_under(other, "pad_token_id");
    if (!ids.pad && !pad.empty()) ids.pad = pad.front();
  }
  return ids;
} catch (const Json::exception& error) {
  base::fail_user("{}: tokenizer.json or tokenizer_config.json is not as tokenizers write it: {}.",
                  tokenizer_folder, error.what());
}

void export_hf(const Shape& shape, const ExportOptions& options, const FetchParameter& fetch) {
  const SpecialIds ids = read_special_ids(options.tokenizer_folder, options.end_of_turn);
  for (const int64_t id : options.end_of_turn) {
    if (id < 0 || id >= shape.vocab) {
      base::fail_user("export to {}: end-of-turn id {} is outside the model's vocabulary of {}.",
                      options.target, id, shape.vocab);
    }
  }
  storage::FolderPublisher publisher(options.target);
  const std::string& folder = publisher.path();
  storage::check_free_space(folder, shape.parameters() * storage::bytes_of(dtype_of(options.type)));
  write_weights(shape, options, folder, fetch);
  write_file(folder + "/config.json", write_hf_config(shape, ids, torch_name(options.type)));
  write_file(folder + "/generation_config.json", generation_config(options.tokenizer_folder, ids));
  write_tokenizer(options, folder);
  publisher.commit();
}

void export_hf(Model& model, const ExportOptions& options, comm::Control& control) {
  size_t unit = 0;
  size_t index = 0;
  const auto next = [&] {
    if (index == model.unit(unit).parameters().size()) {
      ++unit;
      index = 0;
    }
    return model.unit(unit).whole(index++).cpu();
  };
  size_t fetched = 0;
  std::exception_ptr failed;
  if (control.is_first()) {
    try {
      export_hf(model.shape(), options, [&](const parallel::Parameter& /*parameter*/) {
        ++fetched;
        return next();
      });
    } catch (...) {
      failed = std::current_exception();
    }
  }
  // The others gather with rank 0, also what is left after its failure. A gather that fails is no
  // matter of agreement: not all ranks know of it.
  for (; fetched < all_parameters(model.shape()).size(); ++fetched) next();
  control.agree([&] {
    if (failed) std::rethrow_exception(failed);
  });
}

}  // namespace rondo::model
