// rondo selftest [CONFIG]: checks the ranks, hosts, network and file system of an allocation before
// a long job. Sees to it that a fault which would hang other programs ends this one with a reason.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <memory>

#include "app/command.hpp"
#include "app/selftest_report.hpp"
#include "app/version.hpp"
#include "base/file.hpp"
#include "base/hash.hpp"
#include "base/units.hpp"
#include "comm/same_values.hpp"
#include "comm/selftest_nccl.hpp"
#include "storage/hdf5.hpp"
#include "train/base_model.hpp"
#include "train/config.hpp"

namespace rondo::app {

namespace {

namespace fs = std::filesystem;

using base::Finding;
using base::Status;

// What ranks wait for each other before they say who has not come; at least, whatever --seconds.
constexpr double kLeastDeadline = 60;

struct SelftestOptions {
  std::string config;
  std::vector<std::string> overrides;
  std::string json;  // a file, or "-"; "": none
  std::string folder;
  double seconds = 40;
};

// What is wrong with the command line, before anything is measured.
void check_options(const SelftestOptions& options) {
  if (options.config.find('=') != std::string::npos && !fs::exists(options.config)) {
    base::fail_user(
        "'{}' is a setting, but no configuration stands before it. Give rondo selftest "
        "CONFIG.yaml {}.",
        options.config, options.config);
  }
  if (!options.folder.empty() && !fs::is_directory(options.folder)) {
    base::fail_user("--folder {}: there is no such folder. Make it, or name one that is there.",
                    options.folder);
  }
  if (options.json.empty() || options.json == "-") return;
  const fs::path parent = fs::absolute(options.json).parent_path();
  if (!fs::is_directory(parent)) {
    base::fail_user("--json {}: there is no folder {}. Make it, or give another file.",
                    options.json, parent.string());
  }
}

// Collective over all ranks.
Finding same(const std::string& check, const std::string& mine, const std::string& shown,
             comm::Control& control) {
  const std::string differing = comm::differing_text(control.gather_text(mine));
  if (differing.empty()) return {check, Status::kOk, shown + " on all ranks"};
  return {
      check, Status::kFailed,
      fmt::format("{}: install one program and one set of libraries on all hosts, and start all "
                  "ranks with the same files",
                  differing)};
}

class Selftest {
 public:
  Selftest(const SelftestOptions& options, Context& context)
      : options_(options), control_(context.control), runtime_(context.runtime) {}

  // Collective over all ranks.
  SelftestReport run() {
    const auto start = std::chrono::steady_clock::now();
    measure();
    const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
    report_.seconds = spent.count();
    return std::move(report_);
  }

 private:
  void measure() {
    control_.on_first([&] { check_options(options_); });
    control_.agree([&] {
      if (given()) config_ = train::read_config(options_.config, options_.overrides);
    });
    const double deadline_s = std::max(kLeastDeadline, 2 * options_.seconds);
    const comm::ControlDeadline deadline(control_, deadline_s);
    report_.hosts = comm::hosts_of(control_.gather_text(runtime_.host()));
    compare();
    if (base::worst(report_.findings) == Status::kFailed) {
      report_.findings.push_back({"all others", Status::kWarning, "not made, since ranks differ"});
      return;
    }
    if (given()) read_shape();
    const auto world = runtime_.make_group();
    world->set_deadline(deadline_s);
    report_.ranks = train::measure_ranks(report_.hosts, control_, *world, 0.02 * options_.seconds);
    report_.add(train::judge_ranks(report_.ranks, report_.hosts));
    report_.links = comm::measure_links(report_.hosts, control_, *world, 0.4 * options_.seconds);
    report_.add(comm::judge_links(*report_.links, report_.hosts));
    test_files();
    if (given()) test_plan();
    const comm::NcclTested nccl = comm::test_nccl(report_.hosts, control_);
    report_.findings.push_back(nccl.finding);
    report_.nccl = nccl.json;
  }

  bool given() const { return !options_.config.empty(); }

  void compare() {
    report_.program = version_line();
    report_.libraries = fmt::format("{}, HDF5 {}", comm::mpi_version(), storage::hdf5_version());
    report_.config = options_.config;
    report_.add({same("program", report_.program, report_.program, control_),
                 same("libraries", report_.libraries, report_.libraries, control_)});
    const std::string hash =
        given() ? base::hash_hex(train::resolved_yaml(config_)).substr(0, 12) : "none";
    const Finding config =
        same("configuration", hash, fmt::format("{} ({})", options_.config, hash), control_);
    if (given() || config.status != Status::kOk) report_.findings.push_back(config);
    control_.same_on_all_ranks(fmt::format("{}", options_.seconds), "--seconds");
  }

  // Before anything is measured: what is wrong with the configuration is said at once.
  void read_shape() {
    control_.agree([&] { train::check_ranks(config_, control_.size()); });
    train::name_tokenizer(config_, control_);
    shape_ = train::base_shape(config_, control_);
  }

  void test_files() {
    std::string folder;
    control_.on_first([&] {
      folder = !options_.folder.empty() ? options_.folder
               : given()                ? storage::nearest_folder(config_.run_folder())
                                        : ".";
    });
    const storage::FilesBudget budget = {.sight_s = 0.25 * options_.seconds,
                                         .write_s = 0.2 * options_.seconds};
    report_.files = storage::measure_files(folder, report_.hosts, control_, budget);
    report_.add(storage::judge_files(*report_.files, report_.hosts));
    if (!given()) {
      report_.findings.push_back({"disk", Status::kOk,
                                  fmt::format("{} are free (compared with a run where CONFIG is "
                                              "given)",
                                              base::format_bytes(report_.files->free_bytes))});
    }
  }

  void test_plan() {
    train::Machine machine;
    for (size_t r = 0; r < report_.ranks.size(); ++r) {
      machine.hosts.push_back(report_.hosts.names[report_.hosts.of_rank[r]]);
      const int64_t memory = report_.ranks[r].memory;
      machine.memory = r == 0 ? memory : std::min(machine.memory, memory);
    }
    control_.agree(
        [&] { report_.findings.push_back(train::judge_memory(config_, shape_, machine)); });
    report_.need = train::disk_need(config_, shape_.parameters());
    // As rank 0 sees it, so that all ranks come to the same end.
    report_.need->there =
        std::stoll(control_.broadcast_text(fmt::format("{}", report_.need->there)));
    report_.findings.push_back(
        train::judge_disk(*report_.need, report_.files->free_bytes, report_.files->folder));
  }

  const SelftestOptions& options_;
  comm::Control& control_;
  comm::Runtime& runtime_;
  train::Config config_;
  model::Shape shape_;
  SelftestReport report_;
};

base::Exit run(const SelftestOptions& options, Context& context) {
  const SelftestReport report = Selftest(options, context).run();
  if (options.json == "-") {
    context.console.line("{}", to_json(report).dump(2));
  } else {
    print(report, context.console);
  }
  context.control.on_first([&] {
    if (options.json.empty() || options.json == "-") return;
    base::write_text_durably(options.json, to_json(report).dump(2) + "\n");
  });
  return base::worst(report.findings) == Status::kFailed ? base::Exit::kSystem : base::Exit::kDone;
}

}  // namespace

Command selftest_command() {
  auto options = std::make_shared<SelftestOptions>();
  return {
      "selftest", "check ranks, hosts, network and file system before a long job",
      [options](CLI::App& parser) {
        parser.add_option("config", options->config,
                          "configuration of the run to come: its memory, disk and folder are "
                          "checked too");
        parser.add_option("overrides", options->overrides, "section.key=value, over the file");
        parser.add_option("--json", options->json,
                          "write the figures to this file; -: print them in place of the table");
        parser.add_option("--folder", options->folder,
                          "test files here (default: the run folder, or the current folder)");
        parser
            .add_option("--seconds", options->seconds, "about how long it may take (default: 40)")
            ->check(CLI::Range(1.0, 600.0));
      },
      [options](Context& context) { return run(*options, context); }};
}

}  // namespace rondo::app
