// SPDX-License-Identifier: Apache-2.0
#pragma once
// A folder that all ranks of a test know.

#include <memory>

#include "storage/temporary_folder.hpp"
#include "support/test_world.hpp"

namespace penstock {

/// Made by rank 0; removed by it when all ranks are done with it. Constructing and destroying are collective.
class SharedFolder {
 public:
  explicit SharedFolder(World& world) : world_(world) {
    if (world.rank() == 0) mine_ = std::make_unique<TemporaryFolder>();
    path_ = world.broadcast(mine_ ? mine_->path().string() : std::string());
  }
  ~SharedFolder() { world_.barrier(); }
  SharedFolder(const SharedFolder&) = delete;
  SharedFolder& operator=(const SharedFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  World& world_;
  std::unique_ptr<TemporaryFolder> mine_;
  std::filesystem::path path_;
};

}  // namespace penstock
