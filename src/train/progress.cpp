#include "train/progress.hpp"

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <map>

#include "base/units.hpp"
#include "train/plan_of.hpp"

namespace rondo::train {

void print_settings(const Config& config, const std::string& host, const std::string& gpu,
                    const model::Model& model, const Layout& layout, int64_t rows_per_micro_batch,
                    double calibration_flops, comm::Control& control, base::Console& console) {
  std::map<std::string, int> ranks_by_host;
  for (const auto& name : control.gather_text(host)) ++ranks_by_host[name];
  std::string hosts;
  for (const auto& [name, count] : ranks_by_host) {
    hosts += fmt::format("{}{} ({})", hosts.empty() ? "" : ", ", name, count);
  }
  int64_t state_bytes = 0;
  for (size_t u = 0; u < model.unit_count(); ++u) state_bytes += model.unit(u).persistent_bytes();
  const auto& shape = model.shape();
  console.line("run         {}", config.run_folder());
  console.line("ranks       {} on {}, {} compute thread(s) each", control.size(), hosts,
               at::get_num_threads());
  console.line(
      "model       {}: {} parameters ({} layers, hidden {}, {} heads, {} kv heads, ffn {}, "
      "vocabulary {}{})",
      std::string(model::name_of(shape.family)),
      base::format_count(static_cast<double>(shape.parameters())), shape.layers, shape.hidden,
      shape.heads, shape.kv_heads, shape.ffn, shape.vocab, shape.tied ? ", tied" : "");
  console.line("memory      {} of weights, gradients and moments and {} of activations per rank",
               base::format_bytes(state_bytes),
               base::format_bytes(plan::activation_bytes(
                   dimensions_of(shape), plan_layout(layout, shape), rows_per_micro_batch)));
  const parallel::MeshSize& mesh = layout.mesh;
  console.line("layout      replicate {} x shard {} x tensor {}, ZeRO-{}{}", mesh.replicate,
               mesh.shard, mesh.tensor, layout.zero,
               layout.lanes > 0 ? fmt::format(", reproducible in {} lanes", layout.lanes) : "");
  for (const auto& remark : layout.remarks) console.line("            {}", remark);
  for (const auto& round : config.rounds) {
    const auto& batch = round.batch.value;
    const int64_t micro_batches = batch.packs / (mesh.data() * batch.micro_packs.value);
    console.line("batch       {}: {} packs of {} tokens = {} ranks x {} micro-batch(es) x {} packs",
                 round.name, batch.packs, batch.seq_len, mesh.data(), micro_batches,
                 batch.micro_packs.value);
  }
  if (gpu.empty()) {
    console.line("device      CPU, {}", config.precision);
    console.line("calibration {:.1f} GFLOP/s float32 over all ranks", calibration_flops / 1e9);
  } else {
    console.line("device      {}, {}", gpu, config.precision);
    console.line("calibration {:.1f} TFLOP/s bfloat16 over all ranks (peak)",
                 calibration_flops / 1e12);
  }
}

void ProgressLine::show(const Figures& figures) {
  const bool last = figures.done == total_steps_;
  if (!console_.interactive() && figures.done % print_every_ != 0 && !last) return;
  const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start_;
  const auto steps = static_cast<double>(figures.done - first_step_);
  const double left = spent.count() / steps * static_cast<double>(total_steps_ - figures.done);
  console_.progress(fmt::format(
      "{} {}/{}  loss {:.4f}  {} tokens/s ({} trainable)  {:.0f}% of calibration  {} left in the "
      "round",
      round_, figures.done, total_steps_, figures.loss, base::format_count(figures.tokens_per_s),
      base::format_count(figures.trainable_per_s), 100 * figures.calibration_share,
      base::format_duration(left)));
}

}  // namespace rondo::train
