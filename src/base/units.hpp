// Numbers with units, as people write and read them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace rondo::base {

// "30s", "30min", "2h" in seconds; nothing when the text is not of this form.
std::optional<double> parse_duration(std::string_view text);
// "200M", "1.5B", "10k" as a whole number; nothing when it is not one.
std::optional<int64_t> parse_count(std::string_view text);

std::string format_bytes(int64_t bytes);      // "1.50 GiB"
std::string format_count(double count);       // "46.9 M"
std::string format_duration(double seconds);  // "2h 05m", "3m 20s", "12 s"
std::string format_short(double seconds);     // "12.3 us", "4.56 ms", "1.20 s"
std::string format_rate(double bytes_per_s);  // "1.25 GB/s", "48.0 MB/s": powers of 1000

}  // namespace rondo::base
