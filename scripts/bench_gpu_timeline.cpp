// SPDX-License-Identifier: Apache-2.0
// What ran on the GPU and when, as CUPTI saw it: a library that CUDA loads into a program on its own when
// CUDA_INJECTION64_PATH names it. Writes "begin end kind name" to the file that PENSTOCK_TIMELINE names, a line for
// each kernel, copy and fill, times in nanoseconds. Kernels run at their own pace and clock, unlike under ncu.

#include <cupti.h>
#include <cxxabi.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include <string>

namespace {

// Small: a buffer is handed over when it is full, and a killed program loses the last ones.
constexpr std::size_t buffer_bytes = 64 << 10;
std::FILE* timeline = nullptr;

void write(std::uint64_t begin, std::uint64_t end, const char* kind, const char* name) {
  int status = 0;
  char* readable = abi::__cxa_demangle(name, nullptr, nullptr, &status);
  std::fprintf(timeline, "%llu\t%llu\t%s\t%s\n", static_cast<unsigned long long>(begin),
               static_cast<unsigned long long>(end), kind, readable ? readable : name);
  std::free(readable);
}

void write(const CUpti_Activity* record) {
  // Later forms of these structures begin as these do.
  if (record->kind == CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL) {
    const auto* kernel = reinterpret_cast<const CUpti_ActivityKernel9*>(record);
    write(kernel->start, kernel->end, "kernel", kernel->name);
  } else if (record->kind == CUPTI_ACTIVITY_KIND_MEMCPY) {
    const auto* copy = reinterpret_cast<const CUpti_ActivityMemcpy5*>(record);
    write(copy->start, copy->end, "copy", "copy");
  } else if (record->kind == CUPTI_ACTIVITY_KIND_MEMSET) {
    const auto* fill = reinterpret_cast<const CUpti_ActivityMemset4*>(record);
    const std::string name = "fill of " + std::to_string(fill->bytes) + " B";
    write(fill->start, fill->end, "fill", name.c_str());
  }
}

void CUPTIAPI give_buffer(std::uint8_t** buffer, std::size_t* bytes, std::size_t* most_records) {
  *buffer = static_cast<std::uint8_t*>(std::aligned_alloc(64, buffer_bytes));
  *bytes = buffer_bytes;
  *most_records = 0;
}

void CUPTIAPI take_buffer(CUcontext, std::uint32_t, std::uint8_t* buffer, std::size_t, std::size_t valid_bytes) {
  CUpti_Activity* record = nullptr;
  while (cuptiActivityGetNextRecord(buffer, valid_bytes, &record) == CUPTI_SUCCESS) write(record);
  std::fflush(timeline);
  std::free(buffer);
}

}  // namespace

extern "C" int InitializeInjection() {
  const char* path = std::getenv("PENSTOCK_TIMELINE");
  timeline = path ? std::fopen(path, "w") : nullptr;
  if (!timeline) return 0;
  cuptiActivityRegisterCallbacks(give_buffer, take_buffer);
  for (const CUpti_ActivityKind kind :
       {CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL, CUPTI_ACTIVITY_KIND_MEMCPY, CUPTI_ACTIVITY_KIND_MEMSET})
    if (const CUptiResult result = cuptiActivityEnable(kind); result != CUPTI_SUCCESS)
      std::fprintf(stderr, "bench_gpu_timeline: CUPTI refuses kind %d with code %d\n", kind, result);
  cuptiActivityFlushPeriod(100);
  return 1;
}
