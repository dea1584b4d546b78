#include "train/metrics_log.hpp"

#include <fmt/format.h>

#include <cmath>
#include <filesystem>

#include "base/error.hpp"

namespace rondo::train {

namespace {

// The lines to keep: whole, valid, and of steps up to `last_step`.
std::string kept_lines(const std::string& text, int64_t last_step) {
  std::string kept;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = text.find('\n', begin);
    if (end == std::string::npos) break;
    const std::string line = text.substr(begin, end - begin);
    begin = end + 1;
    const auto object = nlohmann::json::parse(line, nullptr, false);
    if (!object.is_object()) continue;
    const auto step = object.find("step");
    if (step == object.end() || !step->is_number_integer()) continue;
    if (step->get<int64_t>() <= last_step) kept += line + "\n";
  }
  return kept;
}

base::File open_kept(const std::string& path, int64_t last_step) {
  const std::string kept =
      std::filesystem::exists(path) ? kept_lines(base::read_text(path), last_step) : "";
  base::write_text_durably(path, kept);
  return base::File::open_write(path);
}

}  // namespace

std::string exact_number(double value) {
  if (std::isnan(value)) return "\"nan\"";
  if (std::isinf(value)) return value > 0 ? "\"inf\"" : "\"-inf\"";
  return fmt::format("{:.17g}", value);
}

MetricsLog::MetricsLog(const std::string& path, int64_t last_step)
    : file_(open_kept(path, last_step)), end_(file_.size()) {}

void MetricsLog::append(const std::string& json_line) {
  const std::string text = json_line + "\n";
  file_.write_at(end_, std::as_bytes(std::span(text)));
  end_ += static_cast<int64_t>(text.size());
}

}  // namespace rondo::train
