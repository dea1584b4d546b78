// Control: agreement among ranks on the host, in words.
//
// Used at named points only (start, batch ready, end of step, save, load, evaluation, end of
// round). After a disagreement every rank throws the same kind of error with the same text, so that
// no rank is left waiting. Built on a Group of its own (never shared with tensor traffic).
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "comm/group.hpp"

namespace rondo::comm {

class Control {
 public:
  explicit Control(std::unique_ptr<Group> group) : group_(std::move(group)) {}

  int rank() const { return group_->rank(); }
  int size() const { return group_->size(); }
  bool is_first() const { return rank() == 0; }

  // Each of these is collective over all ranks of the run.

  // True on every rank when `mine` is true on every rank.
  bool all_true(bool mine);
  // True on every rank when `mine` is true on any rank.
  bool any_true(bool mine);
  // The same of several at once, in their order.
  std::vector<bool> each_any_true(const std::vector<bool>& mine);
  // Runs `action` on this rank, catches what it throws, and agrees: when any rank failed, every
  // rank throws the kind of the worst failure (Bug over SystemError over UserError) with the text
  // of the lowest failing rank of that kind (prefixed by "rank R: " when not all ranks said it).
  void agree(const std::function<void()>& action);
  // The same, with the action run on rank 0 alone.
  void on_first(const std::function<void()>& action);
  // UserError naming ranks and values unless all ranks hold the same text.
  void same_on_all_ranks(std::string_view value, std::string_view name);
  // Rank 0's text, on every rank.
  std::string broadcast_text(const std::string& text);
  // All ranks' texts in rank order, on every rank.
  std::vector<std::string> gather_text(const std::string& text);
  void barrier() { group_->barrier(); }

 private:
  friend class ControlDeadline;
  std::unique_ptr<Group> group_;
};

// Waits of `control` have a deadline (Group::set_deadline) for as long as this lives: where ranks
// come to agreements at about the same time, not where one of them works for the others.
class ControlDeadline {
 public:
  ControlDeadline(Control& control, double deadline_s) : group_(*control.group_) {
    group_.set_deadline(deadline_s);
  }
  ~ControlDeadline() { end(); }
  ControlDeadline(const ControlDeadline&) = delete;
  ControlDeadline& operator=(const ControlDeadline&) = delete;
  // Before its time.
  void end() { group_.set_deadline(0); }

 private:
  Group& group_;
};

}  // namespace rondo::comm
