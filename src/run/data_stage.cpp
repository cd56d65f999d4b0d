// SPDX-License-Identifier: Apache-2.0
#include "run/data_stage.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <future>
#include <string>
#include <thread>

#include "base/clock.hpp"
#include "base/file_descriptor.hpp"
#include "base/log.hpp"
#include "base/user_path.hpp"
#include "storage/durable_file.hpp"

namespace penstock {

namespace {

constexpr std::size_t block_bytes = std::size_t{4} << 20;

// FNV's step over words of 8 bytes: detects faulty copies, not forgeries.
class Digest {
 public:
  void add(std::span<const std::byte> bytes) {
    for (std::size_t i = 0; i < bytes.size(); i += 8) {
      std::uint64_t word = 0;
      std::memcpy(&word, bytes.data() + i, std::min<std::size_t>(8, bytes.size() - i));
      value_ = (value_ ^ word) * 0x100000001B3;
      value_ ^= value_ >> 32;
    }
  }
  std::string text() const { return fmt::format("{:016x}", value_); }

 private:
  std::uint64_t value_ = 0xCBF29CE484222325;
};

template <typename Use>
void read_through(const std::filesystem::path& path, std::atomic<std::uint64_t>& progress, Use&& use) {
  const FileDescriptor file = FileDescriptor::open_to_read(path, "data.stage copies it to each node");
  const std::uint64_t size = file.size_in_bytes();
  std::vector<std::byte> block(std::min<std::uint64_t>(block_bytes, size));
  for (std::uint64_t at = 0; at < size; at += block.size()) {
    const std::span<std::byte> wanted(block.data(), std::min<std::uint64_t>(block.size(), size - at));
    if (file.read_at(at, wanted) < wanted.size())
      throw SystemError(
          fmt::format("{}: became shorter while it was read; stage it again when it is whole", path.string()));
    use(std::span<const std::byte>(wanted));
    progress += wanted.size();
  }
}

std::string digest_of(const std::filesystem::path& path, std::atomic<std::uint64_t>& progress) {
  Digest digest;
  read_through(path, progress, [&](std::span<const std::byte> bytes) { digest.add(bytes); });
  return digest.text();
}

// "penstock-train-<of path, size and time of change>-"
std::string beginning_of_name(const std::filesystem::path& file) {
  std::error_code error;
  const std::string identity =
      fmt::format("{} {} {}", absolute_path(file).string(), std::filesystem::file_size(file, error),
                  std::filesystem::last_write_time(file, error).time_since_epoch().count());
  Digest digest;
  digest.add(std::as_bytes(std::span(identity)));
  return fmt::format("penstock-{}-{}-", file.stem().string(), digest.text());
}

std::optional<StagedFile> find_earlier(const std::filesystem::path& file, const std::filesystem::path& folder,
                                       std::atomic<std::uint64_t>& progress) {
  const std::string beginning = beginning_of_name(file);
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(beginning) || !name.ends_with(".tok")) continue;
    const std::string digest = digest_of(entry.path(), progress);
    if (name == beginning + digest + ".tok") return StagedFile{entry.path(), digest, false};
    log_warning("{}: this earlier copy is damaged and is made again", entry.path().string());
    discard(entry.path());
  }
  return std::nullopt;
}

// The check must read from the disk, not from the page cache.
void forget(const std::filesystem::path& path) {
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return;
  posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
  close(file);
}

std::string copy(const std::filesystem::path& file, const std::filesystem::path& temporary,
                 std::atomic<std::uint64_t>& progress) {
  discard(temporary);
  std::optional<FileDescriptor> target = FileDescriptor::create(temporary);
  if (!target) throw SystemError(fmt::format("{}: another process makes this copy", temporary.string()));
  reserve_space(temporary, FileDescriptor::open_to_read(file, "data.stage copies it to each node").size_in_bytes());
  Digest digest;
  read_through(file, progress, [&](std::span<const std::byte> bytes) {
    digest.add(bytes);
    target->write(bytes);
  });
  target->sync();
  target->close();
  forget(temporary);
  return digest.text();
}

void wait_in_rounds(World& world, const std::function<bool()>& done, const std::atomic<std::uint64_t>& progress,
                    double deadline_seconds) {
  constexpr std::chrono::milliseconds pause(100);
  std::uint64_t seen = 0;
  for (Clock::time_point moved = Clock::now(); world.largest(done() ? 0 : 1) != 0; std::this_thread::sleep_for(pause)) {
    if (done() || progress != seen) moved = Clock::now();
    seen = progress;
    if (seconds_since(moved) > deadline_seconds)
      world.abort(fmt::format("data.stage: the copy has not moved for {:.0f} s (watchdog.seconds), after {} bytes",
                              deadline_seconds, seen));
  }
}

void compare_nodes(World& world, const std::vector<std::filesystem::path>& files,
                   const std::vector<std::vector<std::string>>& digests) {
  world.together([&] {
    for (std::size_t f = 0; f < files.size(); ++f)
      for (int rank = 0; rank < world.size(); ++rank) {
        const auto r = static_cast<std::size_t>(rank);
        if (!digests[f][r].empty() && digests[f][r] != digests[f][0])
          throw_input_error(
              "data.stage: node {} read other bytes of {} than node 0 ({} and {}): the nodes see different files, or "
              "it "
              "is being written; put one whole file where every node sees it",
              world.node_of(rank), files[f].string(), digests[f][r], digests[f][0]);
      }
  });
}

}  // namespace

StagedFile stage_file(const std::filesystem::path& file, const std::filesystem::path& folder,
                      std::atomic<std::uint64_t>& progress) {
  std::error_code ignored;
  if (!std::filesystem::is_directory(folder, ignored))
    throw_input_error("data.stage = \"{}\" is not a folder on {}; name one on a disk of each node's own, such as /tmp",
                      folder.string(), World::host());
  if (const auto earlier = find_earlier(file, folder, progress)) return *earlier;
  const std::filesystem::path temporary = temporary_name(folder / file.filename());
  try {
    const std::string digest = copy(file, temporary, progress);
    if (const std::string back = digest_of(temporary, progress); back != digest)
      throw SystemError(fmt::format("{} came back from the disk of {} as other bytes ({}, written {})", file.string(),
                                    World::host(), back, digest));
    const std::filesystem::path named = folder / (beginning_of_name(file) + digest + ".tok");
    publish(temporary, named);
    return {named, digest, true};
  } catch (const SystemError& error) {
    discard(temporary);
    throw SystemError(fmt::format("data.stage: {}; name another folder, or leave data.stage out", error.what()));
  } catch (const InputError& error) {
    discard(temporary);
    throw_input_error("data.stage = \"{}\": {}", folder.string(), error.what());
  } catch (const std::exception&) {
    discard(temporary);
    throw;
  }
}

std::vector<std::filesystem::path> stage_files(World& world, const std::vector<std::filesystem::path>& files,
                                               const std::filesystem::path& folder, double deadline_seconds) {
  const auto start = Clock::now();
  std::atomic<std::uint64_t> progress{0};
  const auto stage_all = [&] {
    std::vector<StagedFile> staged;
    for (const std::filesystem::path& file : files) staged.push_back(stage_file(file, folder, progress));
    return staged;
  };
  std::future<std::vector<StagedFile>> staging;
  if (world.rank_on_node() == 0) staging = std::async(std::launch::async, stage_all);
  const auto done = [&] {
    return !staging.valid() || staging.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
  };
  wait_in_rounds(world, done, progress, deadline_seconds);

  std::vector<StagedFile> mine(files.size());
  world.together([&] {
    if (staging.valid()) mine = staging.get();
  });
  std::vector<std::filesystem::path> paths;
  std::vector<std::vector<std::string>> digests;
  for (std::size_t f = 0; f < files.size(); ++f) {
    digests.push_back(world.gather(mine[f].digest));
    const std::vector<std::string> names = world.gather(mine[f].path.filename().string());
    for (int rank = world.size() - 1; rank >= 0; --rank)  // the node's first rank
      if (world.node_of(rank) == world.node() && !names[static_cast<std::size_t>(rank)].empty())
        mine[f].path = folder / names[static_cast<std::size_t>(rank)];
    paths.push_back(mine[f].path);
  }
  compare_nodes(world, files, digests);
  for (std::size_t f = 0; f < files.size(); ++f)
    log_info("data.stage: {} {} {}", files[f].string(), mine[f].copied ? "copied to" : "is there as",
             paths[f].string());
  log_info("data.stage: {:.1f} s", seconds_since(start));
  return paths;
}

}  // namespace penstock
