#include "comm/control.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>
#include <exception>
#include <new>

#include "base/error.hpp"

namespace rondo::comm {

namespace {

// Worst last; the order in which agree() chooses.
enum Kind : int { kFine = 0, kUserKind = 1, kSystemKind = 2, kBugKind = 3 };

Kind kind_of(const std::exception& error) {
  switch (base::exit_code_of(error)) {
    case base::Exit::kUser:
      return kUserKind;
    case base::Exit::kSystem:
      return kSystemKind;
    default:
      return kBugKind;
  }
}

[[noreturn]] void throw_kind(Kind kind, const std::string& text) {
  if (kind == kUserKind) throw base::UserError(text);
  if (kind == kSystemKind) throw base::SystemError(text);
  throw base::Bug(text);
}

at::Tensor bytes_of(const std::string& text) {
  at::Tensor bytes = at::empty({static_cast<int64_t>(text.size())}, at::kByte);
  std::memcpy(bytes.data_ptr(), text.data(), text.size());
  return bytes;
}

std::string text_of(const at::Tensor& bytes) {
  return {static_cast<const char*>(bytes.const_data_ptr()), static_cast<size_t>(bytes.numel())};
}

}  // namespace

bool Control::all_true(bool mine) { return !any_true(!mine); }

bool Control::any_true(bool mine) { return each_any_true({mine}).front(); }

std::vector<bool> Control::each_any_true(const std::vector<bool>& mine) {
  at::Tensor flags = at::empty({std::ssize(mine)}, at::kInt);
  std::copy(mine.begin(), mine.end(), flags.mutable_data_ptr<int>());
  group_->all_max(flags, Purpose::kControl).wait();
  const int* all = flags.const_data_ptr<int>();
  std::vector<bool> any;
  for (int64_t i = 0; i < flags.numel(); ++i) any.push_back(all[i] != 0);
  return any;
}

void Control::agree(const std::function<void()>& action) {
  Kind kind = kFine;
  std::string text;
  try {
    action();
  } catch (const std::exception& error) {
    kind = kind_of(error);
    text = error.what();
  }
  at::Tensor worst = at::full({1}, static_cast<int>(kind), at::kInt);
  group_->all_max(worst, Purpose::kControl).wait();
  const auto chosen = static_cast<Kind>(worst.item<int>());
  if (chosen == kFine) return;
  const auto texts = gather_text(kind == chosen ? "!" + text : "");
  int first = -1;
  bool all_same = true;
  for (int r = 0; r < size(); ++r) {
    const auto& said = texts[static_cast<size_t>(r)];
    if (!said.empty() && first < 0) first = r;
    all_same = all_same && said == texts[0];
  }
  const std::string message = texts[static_cast<size_t>(first)].substr(1);
  throw_kind(chosen, all_same ? message : fmt::format("rank {}: {}", first, message));
}

void Control::on_first(const std::function<void()>& action) {
  Kind kind = kFine;
  std::string text;
  if (is_first()) {
    try {
      action();
    } catch (const std::exception& error) {
      kind = kind_of(error);
      text = error.what();
    }
  }
  const std::string said = broadcast_text(static_cast<char>('0' + kind) + text);
  const auto chosen = static_cast<Kind>(said[0] - '0');
  if (chosen != kFine) throw_kind(chosen, said.substr(1));
}

void Control::same_on_all_ranks(std::string_view value, std::string_view name) {
  const auto values = gather_text(std::string(value));
  for (size_t r = 1; r < values.size(); ++r) {
    if (values[r] != values[0]) {
      base::fail_user(
          "{} differs between ranks: rank 0 has '{}', rank {} has '{}'. All ranks must start with "
          "the same program, configuration and files.",
          name, values[0], r, values[r]);
    }
  }
}

std::string Control::broadcast_text(const std::string& text) {
  at::Tensor length = at::full({1}, static_cast<int64_t>(text.size()), at::kLong);
  group_->broadcast(length, 0, Purpose::kControl).wait();
  at::Tensor bytes = is_first() ? bytes_of(text) : at::empty({length.item<int64_t>()}, at::kByte);
  group_->broadcast(bytes, 0, Purpose::kControl).wait();
  return text_of(bytes);
}

std::vector<std::string> Control::gather_text(const std::string& text) {
  at::Tensor longest = at::full({1}, static_cast<int64_t>(text.size()), at::kLong);
  group_->all_max(longest, Purpose::kControl).wait();
  const int64_t width = longest.item<int64_t>() + 8;
  at::Tensor mine = at::zeros({width}, at::kByte);
  const auto length = static_cast<int64_t>(text.size());
  auto* data = static_cast<char*>(mine.data_ptr());
  std::memcpy(data, &length, 8);
  std::copy(text.begin(), text.end(), data + 8);
  at::Tensor all = at::empty({size() * width}, at::kByte);
  group_->all_gather(all, mine, Purpose::kControl).wait();
  std::vector<std::string> texts;
  for (int r = 0; r < size(); ++r) {
    const char* row = static_cast<const char*>(all.const_data_ptr()) + r * width;
    int64_t row_length = 0;
    std::memcpy(&row_length, row, 8);
    texts.emplace_back(row + 8, static_cast<size_t>(row_length));
  }
  return texts;
}

}  // namespace rondo::comm
