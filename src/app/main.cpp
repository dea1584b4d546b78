// rondo: starts MPI, finds the subcommand, and turns what it throws into one message and an exit
// code on all ranks.
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstdio>
#include <string_view>

#include "app/command.hpp"
#include "app/exit_code.hpp"
#include "app/stop_signal.hpp"
#include "app/version.hpp"
#include "base/config.hpp"
#include "base/console.hpp"

namespace rondo::app {
namespace {

// How long the other ranks may take to meet an error that all of them share.
constexpr double kSharedErrorSeconds = 5;

// Why a command line has no command, and what to do.
std::string no_command(const CLI::App& parser, const std::vector<Command>& commands) {
  std::vector<std::string> names;
  for (const Command& command : commands) names.push_back(command.name);
  const std::vector<std::string> words = parser.remaining();
  if (words.empty()) {
    return fmt::format("no command was given; give one of: {} (see rondo --help)",
                       fmt::join(names, ", "));
  }
  if (words.front().starts_with('-')) {
    return fmt::format("there is no option '{}' before the command (see rondo --help)",
                       words.front());
  }
  const std::string near = base::nearest_name(words.front(), names);
  return fmt::format("there is no command '{}'. {} (see rondo --help)", words.front(),
                     near.empty() ? fmt::format("Commands: {}.", fmt::join(names, ", "))
                                  : fmt::format("Did you mean '{}'?", near));
}

base::Exit dispatch(CLI::App& parser, const std::vector<Command>& commands, Context& context,
                    int argc, char** argv) {
  try {
    parser.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    context.console.line("{}", parser.help());
    return base::Exit::kDone;
  } catch (const CLI::CallForVersion&) {
    context.console.line("{}", version_text());
    return base::Exit::kDone;
  } catch (const CLI::ParseError& error) {
    if (parser.get_subcommands().empty()) throw base::UserError(no_command(parser, commands));
    throw base::UserError(fmt::format("{} (see rondo --help)", error.what()));
  }
  for (const Command& command : commands) {
    if (!parser.got_subcommand(command.name)) continue;
    const base::Exit exit = command.run(context);
    // The result of all others is what they have printed.
    if (context.console.lost() && command.name != "train") {
      throw base::SystemError("standard output has not taken all of the result: is its disk full?");
    }
    return exit;
  }
  throw base::UserError(no_command(parser, commands));
}

// Never returns: all ranks end with the code of the error, and it is told once.
[[noreturn]] void fail(comm::Runtime& runtime, const std::exception& error) {
  const auto code = static_cast<int>(base::exit_code_of(error));
  const bool alone = dynamic_cast<const base::Overdue*>(&error) != nullptr;
  if (!alone && runtime.all_arrive(kSharedErrorSeconds)) {
    if (runtime.rank() == 0) base::print_error(fmt::format("error: {}", error.what()));
    // Again, so that no rank's end makes the launcher kill rank 0 before it has spoken.
    runtime.all_arrive(kSharedErrorSeconds);
    if (runtime.rank() == 0) leave_exit_code(code);
    runtime.leave(code, base::exit_code_of(error) == base::Exit::kUser);
  }
  base::print_error(fmt::format("error on rank {} of {} ({}): {}", runtime.rank(), runtime.size(),
                                runtime.host(), error.what()));
  leave_exit_code(code);  // of any rank: rank 0 may be the one that is lost
  comm::Runtime::abort_all(code);
}

int run(comm::Runtime& runtime, int argc, char** argv) {
  const c10::InferenceMode inference;
  comm::Control control = runtime.make_control();
  base::Console console(runtime.rank() == 0);
  Context context{runtime, control, console};
  const std::vector<Command> commands = {
      pack_command(),      train_command(),  eval_command(),    score_command(), generate_command(),
      export_command(),    import_command(), inspect_command(), bench_command(), plan_command(),
      reference_command(), ledger_command(), selftest_command()};
  CLI::App parser("rondo: supervised fine-tuning of language models in rounds, on MPI ranks");
  parser.set_version_flag("--version", "");
  parser.require_subcommand(1);
  for (const Command& command : commands) {
    CLI::App* sub = parser.add_subcommand(command.name, command.summary);
    command.declare(*sub);
  }
  try {
    return static_cast<int>(dispatch(parser, commands, context, argc, argv));
  } catch (const c10::OutOfMemoryError& error) {
    fail(runtime,
         base::SystemError(fmt::format(
             "The memory of the GPU is used up: {} Use a smaller batch.micro_packs, recompute: "
             "block, parallel.zero: 3, moments: bf16 or more ranks; `rondo plan` shows what takes "
             "how much.",
             error.what_without_backtrace())));
  } catch (const c10::AcceleratorError& error) {
    fail(runtime, base::SystemError(fmt::format("The GPU failed: {} Look at dmesg and nvidia-smi.",
                                                error.what_without_backtrace())));
  } catch (const std::exception& error) {
    fail(runtime, error);
  }
}

}  // namespace
}  // namespace rondo::app

int main(int argc, char** argv) {
  if (argc > 1 && std::string_view(argv[1]) == "train") rondo::app::install_stop_signals();
  rondo::comm::Runtime runtime(&argc, &argv);
  at::set_num_interop_threads(1);
  const int code = rondo::app::run(runtime, argc, argv);
  if (runtime.rank() == 0) rondo::app::leave_exit_code(code);
  return code;
}
