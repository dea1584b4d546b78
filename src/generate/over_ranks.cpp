#include "generate/over_ranks.hpp"

#include <cstring>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace rondo::generate {
namespace {

// What precedes a completion's tokens in the bytes that ranks exchange.
struct Head {
  int64_t tokens;
  int64_t finished;
  double log_probability;
};

std::string to_bytes(const std::vector<Completion>& completions) {
  std::string bytes;
  const auto append = [&](const void* from, size_t size) {
    bytes.append(static_cast<const char*>(from), size);
  };
  for (const Completion& completion : completions) {
    const Head head{std::ssize(completion.tokens), completion.finished ? 1 : 0,
                    completion.log_probability};
    append(&head, sizeof(head));
    append(completion.tokens.data(), completion.tokens.size() * sizeof(int32_t));
  }
  return bytes;
}

void append_from_bytes(std::string_view bytes, std::vector<Completion>& completions) {
  const auto take = [&](void* to, size_t size) {
    RONDO_CHECK(bytes.size() >= size, "{} bytes are left, {} needed", bytes.size(), size);
    if (size > 0) std::memcpy(to, bytes.data(), size);
    bytes.remove_prefix(size);
  };
  while (!bytes.empty()) {
    Head head{};
    take(&head, sizeof(head));
    Completion& completion = completions.emplace_back();
    completion.tokens.resize(static_cast<size_t>(head.tokens));
    take(completion.tokens.data(), completion.tokens.size() * sizeof(int32_t));
    completion.finished = head.finished != 0;
    completion.log_probability = head.log_probability;
  }
}

}  // namespace

std::vector<Completion> complete_over_ranks(const Generator& generator, int64_t count,
                                            const ReadPrompts& read, comm::Control& control,
                                            const Progress& progress) {
  std::vector<Completion> mine;
  control.agree([&] {
    const std::vector<Prompt> prompts =
        read(base::even_part(count, control.size(), control.rank()));
    mine = generator.run(prompts, progress);
  });
  std::vector<Completion> all;
  for (const std::string& bytes : control.gather_text(to_bytes(mine))) {
    append_from_bytes(bytes, all);
  }
  RONDO_CHECK(std::ssize(all) == count, "{} completions of {} prompts", all.size(), count);
  return all;
}

}  // namespace rondo::generate
