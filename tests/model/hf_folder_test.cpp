#include "model/hf_folder.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/file.hpp"
#include "comm/local_world.hpp"
#include "model/small_model.hpp"
#include "model/weights.hpp"
#include "storage/safetensors.hpp"
#include "support/temp_folder.hpp"

namespace rondo::model {
namespace {

using test::TempFolder;
using Json = nlohmann::json;

// Of a model on one rank.
void export_alone(Model& model, const ExportOptions& options) {
  comm::Control control(comm::make_self_group());
  export_hf(model, options, control);
}

void put(const std::string& path, const std::string& text) { std::ofstream(path) << text; }

// Initialised weights of `shape`, exported to `target`.
void export_fresh(const Shape& shape, const ExportOptions& options) {
  const c10::InferenceMode guard;
  const auto group = comm::make_self_group();
  Model model(shape, *group, false);
  model.initialise(1);
  export_alone(model, options);
}

std::string load_refusal(const std::string& folder, Shape shape) {
  const c10::InferenceMode guard;
  const auto group = comm::make_self_group();
  comm::Control control(comm::make_self_group());
  Model model(std::move(shape), *group, false);
  try {
    load_hf(folder, model, control);
  } catch (const base::UserError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(HfFolder, ImportOfAnExportIsTheIdentityOnEveryRank) {
  for (const bool tied : {false, true}) {
    Shape shape = small_shape();
    shape.tied = tied;
    shape.qkv_bias = true;
    shape.validate("test");
    const TempFolder folder;
    export_fresh(shape, {.target = folder / "m", .max_file_bytes = 20000});
    EXPECT_TRUE(std::filesystem::exists(folder / "m/model.safetensors.index.json"));
    EXPECT_EQ(read_hf_config(folder / "m"), shape);
    comm::LocalWorld::run(2, [&](comm::Group& group, comm::Control& control) {
      const c10::InferenceMode guard;
      Model fresh(shape, group, false);
      fresh.initialise(1);
      Model loaded(shape, group, false);
      EXPECT_TRUE(load_hf(folder / "m", loaded, control).empty());
      for (size_t u = 0; u < fresh.unit_count(); ++u) {
        EXPECT_TRUE(at::equal(fresh.unit(u).flat_weights(), loaded.unit(u).flat_weights()));
      }
    });
  }
}

TEST(HfFolder, Bf16ExportRoundsEveryWeight) {
  const Shape shape = small_shape();
  const TempFolder folder;
  export_fresh(shape, {.target = folder / "m", .type = ExportType::kBf16});
  const auto reader = storage::SafetensorsReader::open_folder(folder / "m");
  for (const auto& [name, info] : reader.tensors()) EXPECT_EQ(info.dtype, storage::Dtype::kBf16);
  EXPECT_EQ(Json::parse(base::read_text(folder / "m/config.json"))["torch_dtype"], "bfloat16");
  EXPECT_EQ(load_refusal(folder / "m", shape), "accepted");
}

TEST(HfFolder, AllDifferencesAreListedAtOnce) {
  const Shape shape = small_shape();
  const TempFolder folder;
  export_fresh(shape, {.target = folder / "m"});
  Shape other = shape;
  other.ffn = 40;
  other.qk_norm = true;
  other.layers = 3;
  const std::string text = load_refusal(folder / "m", other);
  EXPECT_NE(text.find("15 tensors missing"), std::string::npos) << text;
  EXPECT_NE(text.find("model.layers.0.self_attn.q_norm.weight"), std::string::npos) << text;
  EXPECT_NE(text.find("6 tensors of another shape"), std::string::npos) << text;
  EXPECT_NE(text.find("model.layers.1.mlp.down_proj.weight is [32, 48], expected [32, 40]"),
            std::string::npos)
      << text;
  other = shape;
  other.layers = 1;
  EXPECT_NE(load_refusal(folder / "m", other).find("9 tensors not expected"), std::string::npos)
      << load_refusal(folder / "m", other);
}

TEST(HfFolder, AnUntiedModelWithoutAHeadIsRefusedWithTheWayOut) {
  Shape shape = small_shape();
  shape.tied = true;
  const TempFolder folder;
  export_fresh(shape, {.target = folder / "m"});
  shape.tied = false;
  const std::string text = load_refusal(folder / "m", shape);
  EXPECT_NE(text.find("missing: lm_head.weight"), std::string::npos) << text;
  EXPECT_NE(text.find("\"tie_word_embeddings\": true"), std::string::npos) << text;
}

// A tied model's head may be in the file only as a copy of the embedding.
TEST(HfFolder, AHeadBesideATiedEmbeddingMustEqualIt) {
  const c10::InferenceMode guard;
  const auto group = comm::make_self_group();
  comm::Control control(comm::make_self_group());
  Shape shape = small_shape();
  Model model(shape, *group, false);
  model.initialise(1);
  const TempFolder folder;
  export_alone(model, {.target = folder / "different"});
  shape.tied = true;
  EXPECT_NE(load_refusal(folder / "different", shape).find("differ"), std::string::npos);

  model.unit(model.unit_count() - 1).weight(1).copy_(model.unit(0).weight(0));
  export_alone(model, {.target = folder / "same"});
  Model tied(shape, *group, false);
  const std::vector<std::string> remarks = load_hf(folder / "same", tied, control);
  ASSERT_EQ(remarks.size(), 1U);
  EXPECT_NE(remarks[0].find("lm_head.weight"), std::string::npos);
}

TEST(HfFolder, WeightsThatAreNotFiniteAreNamed) {
  const c10::InferenceMode guard;
  const auto group = comm::make_self_group();
  const Shape shape = small_shape();
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
    Model model(shape, *group, false);
    model.initialise(1);
    model.block(1).down.view(-1)[777].fill_(bad);
    model.final_norm()[3].fill_(bad);
    const TempFolder folder;
    export_alone(model, {.target = folder / "m"});
    const std::string text = load_refusal(folder / "m", shape);
    EXPECT_NE(text.find("2 tensors with NaN or infinity: model.layers.1.mlp.down_proj.weight, "
                        "model.norm.weight"),
              std::string::npos)
        << text;
  }
}

TEST(HfFolder, AnExportCarriesTheTokenizerAndStops) {
  const Shape shape = small_shape();
  const TempFolder folder;
  const std::string tokenizer = folder / "tokenizer";
  std::filesystem::create_directory(tokenizer);
  put(tokenizer + "/tokenizer.json",
      R"({"added_tokens":[{"id":7,"content":"<eos>"},{"id":8,"content":"<end>"}],
          "model":{"vocab":{"<s>":4}}})");
  put(tokenizer + "/tokenizer_config.json",
      R"({"eos_token":{"content":"<eos>"},"bos_token":"<s>","pad_token":null})");
  put(tokenizer + "/generation_config.json",
      R"({"_from_model_config":true,"temperature":0.6,"eos_token_id":[7,9],"pad_token_id":3})");
  put(tokenizer + "/chat_template.jinja", "{{ messages }}");
  put(tokenizer + "/model.safetensors", "not copied");
  export_fresh(shape, {.target = folder / "m", .tokenizer_folder = tokenizer, .end_of_turn = {8}});

  const Json generation = Json::parse(base::read_text(folder / "m/generation_config.json"));
  EXPECT_EQ(generation["eos_token_id"], Json::array({8, 7, 9}));
  EXPECT_EQ(generation["bos_token_id"], 4);
  EXPECT_EQ(generation["pad_token_id"], 3);
  EXPECT_EQ(generation["temperature"], 0.6);
  EXPECT_FALSE(generation.contains("_from_model_config"));
  const Json config = Json::parse(base::read_text(folder / "m/config.json"));
  EXPECT_EQ(config["eos_token_id"], Json::array({8, 7, 9}));
  EXPECT_EQ(base::read_text(folder / "m/chat_template.jinja"), "{{ messages }}");
  EXPECT_TRUE(std::filesystem::exists(folder / "m/tokenizer.json"));
  EXPECT_EQ(load_refusal(folder / "m", shape), "accepted");
}

TEST(HfFolder, AnExportCarriesTheTrainedTemplateInPlaceOfTheTokenizers) {
  const Shape shape = small_shape();
  const TempFolder folder;
  const std::string tokenizer = folder / "tokenizer";
  std::filesystem::create_directory(tokenizer);
  put(tokenizer + "/tokenizer.json", R"({"added_tokens":[],"model":{"vocab":{}}})");
  const std::string config = R"({"chat_template":"own","pad_token":null})";
  put(tokenizer + "/tokenizer_config.json", config);
  const auto export_with = [&](const std::string& name, const std::string& chat_template) {
    export_fresh(
        shape,
        {.target = folder / name, .tokenizer_folder = tokenizer, .chat_template = chat_template});
  };
  export_with("same", "own");
  EXPECT_EQ(base::read_text(folder / "same/tokenizer_config.json"), config);
  EXPECT_FALSE(std::filesystem::exists(folder / "same/chat_template.jinja"));
  export_with("other", "trained");
  EXPECT_EQ(base::read_text(folder / "other/chat_template.jinja"), "trained");
  const Json kept = Json::parse(base::read_text(folder / "other/tokenizer_config.json"));
  EXPECT_FALSE(kept.contains("chat_template"));
  EXPECT_TRUE(kept.contains("pad_token"));
}

TEST(HfFolder, AFailedExportLeavesNothing) {
  const Shape shape = small_shape();
  const TempFolder folder;
  EXPECT_THROW(export_fresh(shape, {.target = folder / "m", .end_of_turn = {61}}), base::UserError);
  EXPECT_THROW(export_hf(shape, {.target = folder / "m"},
                         [](const parallel::Parameter&) -> at::Tensor {
                           throw base::UserError("the checkpoint is damaged");
                         }),
               base::UserError);
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

}  // namespace
}  // namespace rondo::model
