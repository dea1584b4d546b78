#include "model/shape.hpp"

#include <gtest/gtest.h>

#include "base/error.hpp"
#include "model/weights.hpp"

namespace rondo::model {
namespace {

Shape small() {
  Shape shape;
  shape.hidden = 64;
  shape.layers = 3;
  shape.heads = 8;
  shape.kv_heads = 2;
  shape.ffn = 96;
  shape.vocab = 100;
  shape.max_seq = 128;
  return shape;
}

std::string refusal(Shape shape) {
  try {
    shape.validate("a.yaml: model.shape");
  } catch (const base::UserError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(Shape, DefaultsAreFilledIn) {
  Shape shape = small();
  shape.kv_heads = 0;
  shape.validate("test");
  EXPECT_EQ(shape.kv_heads, 8);
  EXPECT_EQ(shape.head_width, 8);
  EXPECT_EQ(shape.family, Family::kLlama);
  shape.qk_norm = true;
  shape.validate("test");
  EXPECT_EQ(shape.family, Family::kQwen3);
}

TEST(Shape, ImpossibleOnesAreRefusedWithTheArithmetic) {
  Shape shape = small();
  shape.kv_heads = 3;
  EXPECT_NE(refusal(shape).find("8 / 3 = 2 remainder 2"), std::string::npos) << refusal(shape);
  shape = small();
  shape.hidden = 65;
  EXPECT_NE(refusal(shape).find("65 / 8 = 8 remainder 1"), std::string::npos);
  shape = small();
  shape.hidden = 8 * 9;
  EXPECT_NE(refusal(shape).find("odd"), std::string::npos);
  shape = small();
  shape.ffn = 0;
  EXPECT_NE(refusal(shape).find("a.yaml: model.shape: ffn = 0"), std::string::npos);
  shape = small();
  shape.qkv_bias = shape.qk_norm = true;
  EXPECT_NE(refusal(shape).find("qkv_bias and qk_norm"), std::string::npos);
  shape = small();
  shape.hidden = int64_t{1} << 29;
  shape.ffn = int64_t{1} << 29;
  EXPECT_NE(refusal(shape).find("parameters, at most"), std::string::npos);
  shape = small();
  shape.norm_eps = 0;
  EXPECT_NE(refusal(shape).find("norm_eps"), std::string::npos);
  shape = small();
  shape.rope_scaling.kind = RopeScaling::Kind::kLlama3;
  EXPECT_NE(refusal(shape).find("original_max_position_embeddings"), std::string::npos);
}

TEST(Shape, LongDocumentsAreRefused) {
  const Shape shape = small();
  shape.check_length(128, "batch.seq_len");
  EXPECT_THROW(shape.check_length(129, "batch.seq_len"), base::UserError);
}

TEST(Shape, CountsOfParametersAreThoseOfTheUnits) {
  for (const bool tied : {false, true}) {
    for (const int kind : {0, 1, 2}) {
      Shape shape = small();
      shape.tied = tied;
      shape.qkv_bias = kind == 1;
      shape.qk_norm = kind == 2;
      shape.head_width = 12;
      shape.validate("test");
      int64_t total = 0;
      int64_t matrices = 0;
      for (const parallel::Parameter& parameter : all_parameters(shape)) {
        total += parameter.numel();
        if (parameter.shape.size() == 2) matrices += parameter.numel();
      }
      EXPECT_EQ(shape.parameters(), total);
      EXPECT_EQ(shape.layers * shape.block_matmul_parameters() +
                    (tied ? 1 : 2) * shape.head_matmul_parameters(),
                matrices);
    }
  }
}

TEST(Shape, FlopsFollowTheStatedFormula) {
  Shape shape = small();
  shape.validate("test");
  // Per block: q 64*64, k and v 64*16 each, o 64*64, MLP 3*64*96.
  const double block = 64 * 64 * 2 + 2 * 64 * 16 + 3 * 64 * 96;
  EXPECT_EQ(shape.model_flops(10, 55, 4), 6 * (3 * block * 10 + 64.0 * 100 * 4) + 12 * 3 * 64 * 55);
}

}  // namespace
}  // namespace rondo::model
