// SPDX-License-Identifier: Apache-2.0
// The file `guard` of a run folder.

#include "fuzz/harness.hpp"
#include "fuzz/harnesses.hpp"
#include "storage/run_guard.hpp"

namespace penstock::fuzz {

void feed_guard(std::string_view bytes) {
  const auto holder = GuardHolder::parse(std::string(bytes));
  if (!holder) return;
  promise(GuardHolder::parse(holder->json()) == holder, "a guard reads back as itself");
  words_of(*holder);
  static const GuardHolder me = GuardHolder::this_process();
  judge(*holder, me, see_process(holder->process));
  supersedes(me, *holder);
  GuardHolder taker = me;  // as RunGuard::take_over does
  taker.epoch = holder->epoch + 1;
  taker.json();
}

}  // namespace penstock::fuzz
