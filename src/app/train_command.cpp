// rondo train CONFIG: runs the rounds.
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>

#include "app/command.hpp"
#include "app/compute_group.hpp"
#include "app/config_options.hpp"
#include "app/hang_watch.hpp"
#include "app/stop_signal.hpp"
#include "app/version.hpp"
#include "base/environment.hpp"
#include "train/base_model.hpp"
#include "train/run.hpp"

namespace rondo::app {

Command train_command() {
  auto options = std::make_shared<ConfigOptions>();
  return {"train", "run the rounds of a configuration, from the newest checkpoint if there is one",
          [options](CLI::App& parser) { options->declare(parser); },
          [options](Context& context) {
            train::Config config = options->read(context.control);
            if (options->check_ranks > 0) {
              train::base_shape(config, context.control);
              return base::Exit::kDone;
            }
            if (options->folder) {
              context.console.line("{}", config.run_folder());
              return base::Exit::kDone;
            }
            // Outlives the groups, whose ends may wait for ranks that are gone.
            HangWatch hang_watch(config, context);
            context.runtime.check_collectives(config.parallel.check_collectives);
            const train::ChosenDevice device =
                train::choose_device(config, context.runtime.host(), context.control);
            const auto group = compute_group(device, context);
            group->set_deadline(config.parallel.deadline_s);
            std::optional<base::Faults> faults;
            context.control.agree(
                [&] { faults.emplace(base::environment("RONDO_FAULT"), context.runtime.rank()); });
            const base::Exit end = train::run(config, context.control, *group, context.console,
                                              {.stop_requested = stop_requested,
                                               .end_in = end_in,
                                               .host = context.runtime.host(),
                                               .gpu = device.name,
                                               .gpu_memory = device.free_bytes,
                                               .version = version_line(),
                                               .job_end = base::environment("SLURM_JOB_END_TIME"),
                                               .faults = *faults,
                                               .watchdog = hang_watch.watchdog()});
            end_no_more();
            return end;
          }};
}

}  // namespace rondo::app
