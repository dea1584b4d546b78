#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>
#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/slice.hpp"
#include "storage/safetensors.hpp"

namespace rondo::storage {
namespace {

// Keys keep their order: the index and headers list tensors in the order of the model.
using Json = nlohmann::ordered_json;

constexpr int64_t kMaxHeaderBytes = 100'000'000;
constexpr size_t kPieceElements = size_t{1} << 20;

template <class Half>
void narrow(const std::string& name, std::span<const float> in, std::span<uint16_t> out) {
  for (size_t i = 0; i < in.size(); ++i) {
    const Half half(in[i]);
    if (std::isfinite(in[i]) && !std::isfinite(static_cast<float>(half))) {
      base::fail_user(
          "tensor \"{}\" holds {}, which does not fit the 16-bit format asked for. "
          "Export as fp32.",
          name, in[i]);
    }
    out[i] = half.x;
  }
}

}  // namespace

SafetensorsWriter::SafetensorsWriter(std::string folder, const std::vector<Tensor>& tensors,
                                     Dtype dtype, int64_t max_file_bytes)
    : folder_(std::move(folder)), dtype_(dtype) {
  RONDO_CHECK(dtype == Dtype::kF32 || dtype == Dtype::kBf16 || dtype == Dtype::kF16);
  create_files(tensors, max_file_bytes);
}

void SafetensorsWriter::create_files(const std::vector<Tensor>& tensors, int64_t max_file_bytes) {
  const int64_t width = bytes_of(dtype_);
  std::vector<Json> headers;
  int64_t end = 0;
  for (const Tensor& tensor : tensors) {
    TensorInfo info{dtype_, tensor.shape, 1, 0, 0};
    for (const int64_t dim : tensor.shape) info.numel *= dim;
    const int64_t bytes = info.numel * width;
    if (headers.empty() || (end > 0 && end + bytes > max_file_bytes)) {
      headers.push_back({{"__metadata__", {{"format", "pt"}}}});
      end = 0;
    }
    info.file = headers.size() - 1;
    info.offset = end;
    headers.back()[tensor.name] = {
        {"dtype", name_of(dtype_)}, {"shape", tensor.shape}, {"data_offsets", {end, end + bytes}}};
    end += bytes;
    RONDO_CHECK(tensors_.emplace(tensor.name, std::move(info)).second, "{} twice", tensor.name);
  }

  std::vector<int64_t> data_begins;
  for (size_t i = 0; i < headers.size(); ++i) {
    file_names_.push_back(headers.size() == 1 ? "model.safetensors"
                                              : fmt::format("model-{:05}-of-{:05}.safetensors",
                                                            i + 1, headers.size()));
    std::string text = headers[i].dump();
    text.resize(static_cast<size_t>(base::round_up(static_cast<int64_t>(text.size()), 8)), ' ');
    RONDO_CHECK(static_cast<int64_t>(text.size()) <= kMaxHeaderBytes, "header of {} bytes",
                text.size());
    files_.push_back(base::File::create(folder_ + "/" + file_names_.back()));
    const uint64_t length = text.size();
    files_.back().write_at(0, std::as_bytes(std::span(&length, 1)));
    files_.back().write_at(8, std::as_bytes(std::span(text)));
    data_begins.push_back(8 + static_cast<int64_t>(length));
  }
  for (auto& [name, info] : tensors_) info.offset += data_begins[info.file];
}

void SafetensorsWriter::write(const std::string& name, std::span<const float> values) {
  const TensorInfo& info = tensors_.at(name);
  RONDO_CHECK(static_cast<int64_t>(values.size()) == info.numel, "{}: {} values, expected {}", name,
              values.size(), info.numel);
  RONDO_CHECK(written_.insert(name).second, "{} was written twice", name);
  base::File& file = files_[info.file];
  if (dtype_ == Dtype::kF32) {
    file.write_at(info.offset, std::as_bytes(values));
    return;
  }
  std::vector<uint16_t> piece(std::min(values.size(), kPieceElements));
  for (size_t done = 0; done < values.size(); done += kPieceElements) {
    const size_t size = std::min(kPieceElements, values.size() - done);
    const std::span<uint16_t> out = std::span(piece).first(size);
    if (dtype_ == Dtype::kBf16) {
      narrow<c10::BFloat16>(name, values.subspan(done, size), out);
    } else {
      narrow<c10::Half>(name, values.subspan(done, size), out);
    }
    file.write_at(info.offset + static_cast<int64_t>(done) * 2, std::as_bytes(out));
  }
}

void SafetensorsWriter::finish() {
  for (const auto& [name, info] : tensors_) {
    RONDO_CHECK(written_.contains(name), "{} was not written", name);
  }
  for (base::File& file : files_) {
    file.sync();
    file.close();
  }
  if (files_.size() == 1) return;
  int64_t total = 0;
  Json map = Json::object();
  for (const auto& [name, info] : tensors_) {
    total += info.numel * bytes_of(dtype_);
    map[name] = file_names_[info.file];
  }
  const Json index = {{"metadata", {{"total_size", total}}}, {"weight_map", map}};
  base::write_text_durably(folder_ + "/model.safetensors.index.json", index.dump(2) + "\n");
}

}  // namespace rondo::storage
