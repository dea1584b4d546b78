#include "base/units.hpp"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cmath>
#include <utility>

namespace rondo::base {

namespace {

// A number at the start of `text`; the rest is left in it.
std::optional<double> take_number(std::string_view& text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || !std::isfinite(value) || value < 0) return std::nullopt;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return value;
}

}  // namespace

std::optional<double> parse_duration(std::string_view text) {
  const auto value = take_number(text);
  if (!value) return std::nullopt;
  if (text == "s") return *value;
  if (text == "min" || text == "m") return *value * 60;
  if (text == "h") return *value * 3600;
  return std::nullopt;
}

std::optional<int64_t> parse_count(std::string_view text) {
  const auto value = take_number(text);
  if (!value) return std::nullopt;
  double scale = 1;
  if (text == "k" || text == "K") {
    scale = 1e3;
  } else if (text == "M") {
    scale = 1e6;
  } else if (text == "B" || text == "G") {
    scale = 1e9;
  } else if (text == "T") {
    scale = 1e12;
  } else if (!text.empty()) {
    return std::nullopt;
  }
  const double count = *value * scale;
  if (count > 9e18 || count != std::floor(count)) return std::nullopt;
  return static_cast<int64_t>(count);
}

std::string format_bytes(int64_t bytes) {
  constexpr std::array<const char*, 6> kUnits = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  auto value = static_cast<double>(bytes);
  size_t unit = 0;
  while (std::abs(value) >= 1024 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.2f} {}", value, kUnits[unit]);
}

std::string format_count(double count) {
  constexpr std::array<const char*, 5> kUnits = {"", " k", " M", " B", " T"};
  size_t unit = 0;
  while (std::abs(count) >= 1000 && unit + 1 < kUnits.size()) {
    count /= 1000;
    ++unit;
  }
  return unit == 0 ? fmt::format("{:.0f}", count) : fmt::format("{:.3g}{}", count, kUnits[unit]);
}

std::string format_duration(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0) return "?";
  const auto whole = int64_t{std::llround(seconds)};
  if (whole >= 3600) return fmt::format("{}h {:02}m", whole / 3600, whole % 3600 / 60);
  if (whole >= 60) return fmt::format("{}m {:02}s", whole / 60, whole % 60);
  return fmt::format("{} s", whole);
}

std::string format_short(double seconds) {
  if (std::abs(seconds) < 1e-3) return fmt::format("{:.1f} us", seconds * 1e6);
  if (std::abs(seconds) < 1) return fmt::format("{:.2f} ms", seconds * 1e3);
  return fmt::format("{:.2f} s", seconds);
}

std::string format_rate(double bytes_per_s) {
  if (bytes_per_s < 1e6) return fmt::format("{:.1f} kB/s", bytes_per_s / 1e3);
  if (bytes_per_s < 1e9) return fmt::format("{:.1f} MB/s", bytes_per_s / 1e6);
  return fmt::format("{:.2f} GB/s", bytes_per_s / 1e9);
}

}  // namespace rondo::base
