#include "base/log.hpp"

#include <spdlog/sinks/stdout_sinks.h>

namespace penstock {

void start_log(int rank, int world_size) {
  auto logger = std::make_shared<spdlog::logger>("penstock", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  logger->set_pattern(world_size > 1 && rank > 0 ? fmt::format("[%H:%M:%S] %l, rank {}: %v", rank) : "[%H:%M:%S] %v");
  logger->set_level(rank == 0 ? spdlog::level::info : spdlog::level::warn);
  logger->flush_on(spdlog::level::info);
  spdlog::set_default_logger(std::move(logger));
}

}  // namespace penstock
