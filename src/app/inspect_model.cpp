#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <span>
#include <vector>

#include "app/inspect.hpp"
#include "base/error.hpp"
#include "base/file.hpp"
#include "base/units.hpp"
#include "checkpoint/checkpoint.hpp"
#include "model/hf_config.hpp"
#include "model/shape.hpp"
#include "storage/safetensors.hpp"

namespace rondo::app {
namespace {

namespace fs = std::filesystem;

void print_shape(base::Console& console, const model::Shape& shape) {
  console.line(
      "  {}: {} parameters, hidden {}, {} layers, {} heads of {}, {} key/value heads, "
      "ffn {}, vocabulary {}, {} head, {} positions",
      model::name_of(shape.family), base::format_count(static_cast<double>(shape.parameters())),
      shape.hidden, shape.layers, shape.heads, shape.head_width, shape.kv_heads, shape.ffn,
      shape.vocab, shape.tied ? "tied" : "own", shape.max_seq);
}

void print_tensors(const storage::SafetensorsReader& reader, base::Console& console) {
  std::map<std::string, int64_t> by_type;
  int64_t elements = 0;
  int64_t bytes = 0;
  for (const auto& [name, tensor] : reader.tensors()) {
    ++by_type[std::string(storage::name_of(tensor.dtype))];
    elements += tensor.numel;
    bytes += tensor.numel * storage::bytes_of(tensor.dtype);
  }
  std::string types;
  for (const auto& [type, count] : by_type) {
    types += fmt::format("{}{} {}", types.empty() ? "" : ", ", count, type);
  }
  console.line("  {} tensors ({}), {} elements, {}", reader.tensors().size(), types, elements,
               base::format_bytes(bytes));
}

// Reads every number.
void verify_tensors(const storage::SafetensorsReader& reader, base::Console& console) {
  constexpr int64_t kPiece = int64_t{1} << 20;
  std::vector<float> values(kPiece);
  int64_t other = 0;
  for (const auto& [name, tensor] : reader.tensors()) {
    if (tensor.dtype > storage::Dtype::kF16) {
      ++other;
      continue;
    }
    for (int64_t begin = 0; begin < tensor.numel; begin += kPiece) {
      const auto count = static_cast<size_t>(std::min(kPiece, tensor.numel - begin));
      reader.read(name, begin, {values.data(), count});
      const auto end = values.begin() + static_cast<std::ptrdiff_t>(count);
      const auto bad = std::find_if(values.begin(), end, [](float x) { return !std::isfinite(x); });
      if (bad != end) {
        base::fail_user("{}: tensor {} holds {} at element {}.", reader.path_of(name), name, *bad,
                        begin + (bad - values.begin()));
      }
    }
  }
  console.line("  verified: every number is finite{}",
               other > 0 ? fmt::format(" ({} tensors of other types were not read)", other) : "");
}

void print_listed(const std::string& folder, base::Console& console) {
  for (const checkpoint::Listed& listed : checkpoint::list(folder)) {
    if (listed.damage.empty()) {
      console.line("  {:<24} step {:>8}  {:>10}  round {}", listed.name, listed.step,
                   base::format_bytes(listed.bytes), listed.state.value("round_name", "-"));
    } else {
      console.line("  {:<24} unusable: {}", listed.name, listed.damage);
    }
  }
}

}  // namespace

void inspect_checkpoint(const InspectRequest& request, base::Console& console) {
  comm::Control alone(comm::make_self_group());
  const auto source = checkpoint::Checkpoint::open(
      request.path, alone,
      request.verify ? checkpoint::Verify::kFull : checkpoint::Verify::kManifest);
  int64_t elements = 0;
  int64_t optimizer = 0;
  for (const checkpoint::LogicalTensor& tensor : source.tensors()) {
    elements += tensor.count();
    optimizer += tensor.name.starts_with("optimizer/") ? tensor.count() : 0;
  }
  console.line("{}: checkpoint {} of step {}", request.path, source.name(), source.step());
  console.line("  {} tensors, {} elements ({} of them optimizer state), digest {}",
               source.tensors().size(), elements, optimizer, source.digest());
  nlohmann::json state = source.state();
  if (state.contains("model_config")) {
    print_shape(console, model::parse_hf_config(state["model_config"].get<std::string>(),
                                                request.path + " (model_config)"));
    state.erase("model_config");
  }
  console.line("  state {}", state.dump());
  if (request.verify) console.line("  verified: every byte agrees with its checksum");
}

void inspect_hf_folder(const InspectRequest& request, base::Console& console) {
  const model::Shape shape = model::read_hf_config(request.path);
  console.line("{}: Hugging Face model folder", request.path);
  print_shape(console, shape);
  const auto reader = storage::SafetensorsReader::open_folder(request.path);
  print_tensors(reader, console);
  for (const char* name : {"tokenizer.json", "generation_config.json"}) {
    console.line("  {}: {}", name, fs::exists(fs::path(request.path) / name) ? "there" : "missing");
  }
  if (request.verify) verify_tensors(reader, console);
}

void inspect_safetensors(const InspectRequest& request, base::Console& console) {
  const auto reader = storage::SafetensorsReader::open_file(request.path);
  console.line("{}: safetensors file", request.path);
  print_tensors(reader, console);
  for (const auto& [name, tensor] : reader.tensors()) {
    console.line("  {:<60} {:>5} [{}]", name, storage::name_of(tensor.dtype),
                 fmt::join(tensor.shape, ", "));
  }
  if (request.verify) verify_tensors(reader, console);
}

void inspect_run(const InspectRequest& request, base::Console& console) {
  const bool has_folder = fs::is_directory(fs::path(request.path) / "checkpoints");
  console.line("{}: {}", request.path, has_folder ? "run folder" : "folder of checkpoints");
  print_listed(has_folder ? request.path + "/checkpoints" : request.path, console);
  const std::string ledger = request.path + "/ledger.jsonl";
  if (!fs::exists(ledger)) return;
  const std::string text = base::read_text(ledger);
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    if (end > begin) console.line("  round {}", text.substr(begin, end - begin));
    begin = end + 1;
  }
}

}  // namespace rondo::app
