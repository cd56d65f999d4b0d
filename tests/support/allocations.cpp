// SPDX-License-Identifier: Apache-2.0
#include "support/allocations.hpp"

#include <dlfcn.h>
#include <execinfo.h>
#include <fmt/format.h>
#include <sys/types.h>

#include <array>
#include <string_view>

// glibc's own functions, whose names are replaced below.
extern "C" {
void* __libc_malloc(std::size_t bytes);
void* __libc_calloc(std::size_t count, std::size_t bytes);
void* __libc_realloc(void* memory, std::size_t bytes);
void* __libc_memalign(std::size_t alignment, std::size_t bytes);
}

namespace penstock::test {

namespace {

constexpr int most_frames = 32;

struct Stack {
  std::array<void*, most_frames> frames{};
  int depth = 0;
};

thread_local bool counting = false;
thread_local bool inside = false;  ///< looking at the stack may allocate, too
thread_local std::array<std::size_t, 5> counts{};
thread_local std::size_t largest = 0;
thread_local Stack first;

/// The library that an address lies in, "" for the program itself; nullptr for generated code.
const char* object_of(void* address, void* own_base) {
  Dl_info info;
  if (!dladdr(address, &info) || !info.dli_fname) return nullptr;
  return info.dli_fbase == own_base ? "" : info.dli_fname;
}

void* base_of_this_program() {
  Dl_info info;
  dladdr(reinterpret_cast<void*>(&object_of), &info);
  return info.dli_fbase;
}

Owner owner_of(const Stack& stack) {
  static void* const own_base = base_of_this_program();
  for (int i = 2; i < stack.depth; ++i) {  // after the hook and the function that it replaces
    const char* object = object_of(stack.frames[static_cast<std::size_t>(i)], own_base);
    if (!object) continue;
    const std::string_view path(object);
    const auto has = [&](std::string_view name) { return path.find(name) != path.npos; };
    if (path.empty()) return Owner::penstock;
    if (has("/libc.") || has("/libstdc++") || has("/libfmt") || has("/ld-linux")) continue;  // on behalf of a caller
    if (has("dnnl")) return Owner::onednn;
    if (has("mpi") || has("/libuc") || has("libfabric") || has("pmi")) return Owner::mpi;
    if (has("gomp")) return Owner::openmp;
    return Owner::other;
  }
  return Owner::other;
}

void count(std::size_t bytes) {
  if (!counting || inside) return;
  inside = true;
  Stack stack;
  stack.depth = backtrace(stack.frames.data(), most_frames);
  const Owner owner = owner_of(stack);
  ++counts[static_cast<std::size_t>(owner)];
  if (owner == Owner::penstock && first.depth == 0) first = stack;
  if (owner == Owner::penstock && bytes > largest) largest = bytes;
  inside = false;
}

}  // namespace

void start_counting_allocations() {
  void* frame[1];
  backtrace(frame, 1);  // loads what it needs
  owner_of({});
  counts = {};
  first = {};
  largest = 0;
  counting = true;
}

Allocations stop_counting_allocations() {
  counting = false;
  const auto of = [](Owner owner) { return counts[static_cast<std::size_t>(owner)]; };
  Allocations all{.penstock = of(Owner::penstock),
                  .onednn = of(Owner::onednn),
                  .mpi = of(Owner::mpi),
                  .openmp = of(Owner::openmp),
                  .other = of(Owner::other),
                  .largest = largest,
                  .first = {}};
  for (int i = 0; i < first.depth; ++i) {
    Dl_info info;
    void* address = first.frames[static_cast<std::size_t>(i)];
    if (dladdr(address, &info))
      all.first +=
          fmt::format("{} {:#x}\n", info.dli_fname,
                      static_cast<std::size_t>(static_cast<char*>(address) - static_cast<char*>(info.dli_fbase)));
  }
  return all;
}

}  // namespace penstock::test

extern "C" {

void* malloc(std::size_t bytes) {
  penstock::test::count(bytes);
  return __libc_malloc(bytes);
}
void* calloc(std::size_t count, std::size_t bytes) {
  penstock::test::count(count * bytes);
  return __libc_calloc(count, bytes);
}
void* realloc(void* memory, std::size_t bytes) {
  penstock::test::count(bytes);
  return __libc_realloc(memory, bytes);
}
void* memalign(std::size_t alignment, std::size_t bytes) {
  penstock::test::count(bytes);
  return __libc_memalign(alignment, bytes);
}
void* aligned_alloc(std::size_t alignment, std::size_t bytes) {
  penstock::test::count(bytes);
  return __libc_memalign(alignment, bytes);
}
int posix_memalign(void** memory, std::size_t alignment, std::size_t bytes) {
  penstock::test::count(bytes);
  *memory = __libc_memalign(alignment, bytes);
  return *memory ? 0 : 12;  // ENOMEM
}
// UCX overwrites the first bytes of the function that has the name mmap. The linker brings this program's calls here.
void* __real_mmap(void* address, std::size_t bytes, int protection, int flags, int file, off_t offset);
void* __wrap_mmap(void* address, std::size_t bytes, int protection, int flags, int file, off_t offset) {
  penstock::test::count(bytes);
  return __real_mmap(address, bytes, protection, flags, file, offset);
}

}  // extern "C"
