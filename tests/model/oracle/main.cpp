// The C++ side of oracle_test.py: loads a Hugging Face folder, runs one packed micro-batch, and
// writes what came out, for Python to compare with transformers and autograd.
//
//   model_oracle FOLDER INPUT OUT [bf16]
//
// INPUT is a safetensors file of float32: tokens [t], documents [m, 2], rows, labels and weights
// [n]. OUT (made here) receives result/model.safetensors with logits [t, v], losses [n], loss and
// weight and correct [1], ready [units], and gradients "grad.NAME" of loss / weight; and export/,
// the model as a Hugging Face folder. Exit code 2 and the message for wrong input.

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <cstdio>
#include <filesystem>
#include <string>

#include "base/error.hpp"
#include "comm/control.hpp"
#include "comm/group.hpp"
#include "model/hf_folder.hpp"
#include "model/model.hpp"
#include "parallel/mesh.hpp"
#include "storage/safetensors.hpp"

namespace {

using namespace rondo;

at::Tensor read(const storage::SafetensorsReader& input, const std::string& name) {
  const storage::TensorInfo& info = input.tensors().at(name);
  at::Tensor values = at::empty(info.shape);
  input.read(name, 0, {values.mutable_data_ptr<float>(), static_cast<size_t>(info.numel)});
  return values;
}

std::span<const float> span_of(const at::Tensor& values) {
  return {values.const_data_ptr<float>(), static_cast<size_t>(values.numel())};
}

void run(const std::string& folder, const std::string& input_path, const std::string& out,
         at::ScalarType compute) {
  const c10::InferenceMode guard;
  const auto group = comm::make_self_group();
  comm::Control control(comm::make_self_group());
  parallel::Mesh mesh(*group);
  model::Model model(model::read_hf_config(folder), mesh,
                     {.state = {.training = true, .compute = compute}, .recompute = {}});
  for (const std::string& remark : model::load_hf(folder, model, control)) {
    fmt::print("{}\n", remark);
  }

  const auto file = storage::SafetensorsReader::open_file(input_path);
  const at::Tensor tokens = read(file, "tokens").to(at::kInt);
  const at::Tensor rows = read(file, "rows").to(at::kLong);
  const at::Tensor labels = read(file, "labels").to(at::kLong);
  const at::Tensor weights = read(file, "weights");
  const at::Tensor ranges = read(file, "documents").to(at::kLong);
  std::vector<base::Slice> documents;
  for (int64_t i = 0; i < ranges.size(0); ++i) {
    documents.push_back({ranges[i][0].item<int64_t>(), ranges[i][1].item<int64_t>()});
  }
  const auto layout = kernels::PackedLayout::make(tokens.numel(), std::move(documents));
  const model::Input input{tokens, rows, labels, weights, layout};

  const at::Tensor logits = model.logits(tokens, layout, at::arange(tokens.numel(), at::kLong));
  kernels::RowLosses each;
  const kernels::HeadLoss evaluated = model.forward(input, &each).read();
  const at::Tensor& losses = each.losses_n;
  model.zero_grad();
  std::vector<float> ready;
  const kernels::HeadLoss loss =
      model
          .forward_backward(input, 1 / evaluated.weight,
                            [&](size_t unit) { ready.push_back(static_cast<float>(unit)); })
          .read();

  std::vector<storage::SafetensorsWriter::Tensor> tensors = {{"logits", logits.sizes().vec()},
                                                             {"losses", losses.sizes().vec()},
                                                             {"loss", {1}},
                                                             {"weight", {1}},
                                                             {"correct", {1}},
                                                             {"ready", {std::ssize(ready)}}};
  for (size_t u = 0; u < model.unit_count(); ++u) {
    for (const parallel::Parameter& parameter : model.unit(u).parameters()) {
      tensors.push_back({"grad." + parameter.name, parameter.shape});
    }
  }
  std::filesystem::create_directories(out + "/result");
  storage::SafetensorsWriter writer(out + "/result", tensors, storage::Dtype::kF32);
  const auto write_one = [&](const std::string& name, double value) {
    const auto single = static_cast<float>(value);
    writer.write(name, {&single, 1});
  };
  writer.write("logits", span_of(logits));
  writer.write("losses", span_of(losses));
  write_one("loss", loss.weighted_loss);
  write_one("weight", loss.weight);
  write_one("correct", static_cast<double>(loss.correct));
  writer.write("ready", ready);
  for (size_t u = 0; u < model.unit_count(); ++u) {
    const parallel::Unit& unit = model.unit(u);
    for (size_t i = 0; i < unit.parameters().size(); ++i) {
      writer.write("grad." + unit.parameters()[i].name, span_of(unit.grad(i)));
    }
  }
  writer.finish();
  model::export_hf(model,
                   {.target = out + "/export",
                    .tokenizer_folder = folder,
                    .type = model::ExportType::kFp32,
                    .end_of_turn = {5}},
                   control);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4 && (argc != 5 || std::string(argv[4]) != "bf16")) {
    std::fputs("usage: model_oracle FOLDER INPUT OUT [bf16]\n", stderr);
    return 2;
  }
  try {
    run(argv[1], argv[2], argv[3], argc == 5 ? at::kBFloat16 : at::kFloat);
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return static_cast<int>(rondo::base::exit_code_of(error));
  }
  return 0;
}
