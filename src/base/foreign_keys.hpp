// Where the configuration keys of TRL, Axolotl, Megatron and the Hugging Face Trainer lead.
#pragma once

#include <string>

namespace rondo::base {

// One sentence about an unknown key: the key of rondo that does the same, or what rondo does where
// it has no such key. "" for a name that is not known. `path` is the full path of the key, such as
// "sources.a.path"; '-' and '_' in its last part are the same (Megatron writes micro-batch-size).
// Names that are rondo's own too, such as weight_decay, are not here.
std::string hint_for_foreign_key(const std::string& path);

}  // namespace rondo::base
