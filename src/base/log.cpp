// SPDX-License-Identifier: Apache-2.0
#include "base/log.hpp"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <string>

namespace penstock {
namespace {

spdlog::level::level_enum spdlog_level(LogLevel level) {
  switch (level) {
    case LogLevel::information:
      return spdlog::level::info;
    case LogLevel::warning:
      return spdlog::level::warn;
    case LogLevel::error:
      break;
  }
  return spdlog::level::err;
}

/// "warning: " and "error: ", so that these lines stand out and can be searched for.
class LevelWord : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm&, spdlog::memory_buf_t& to) override {
    if (message.level < spdlog::level::warn) return;
    const std::string_view word = message.level == spdlog::level::warn ? "warning: " : "error: ";
    to.append(word.data(), word.data() + word.size());
  }
  std::unique_ptr<spdlog::custom_flag_formatter> clone() const override { return std::make_unique<LevelWord>(); }
};

}  // namespace

void start_log(int rank, int world_size) {
  auto logger = std::make_shared<spdlog::logger>("penstock", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  auto formatter = std::make_unique<spdlog::pattern_formatter>();
  formatter->add_flag<LevelWord>('*');
  formatter->set_pattern(world_size > 1 && rank > 0 ? fmt::format("[%H:%M:%S] %*rank {}: %v", rank)
                                                    : "[%H:%M:%S] %*%v");
  logger->set_formatter(std::move(formatter));
  logger->set_level(rank == 0 ? spdlog::level::info : spdlog::level::warn);
  logger->flush_on(spdlog::level::info);
  spdlog::set_default_logger(std::move(logger));
}

bool is_logged(LogLevel level) { return spdlog::should_log(spdlog_level(level)); }

void log_line(LogLevel level, std::string_view line) {
  spdlog::log(spdlog_level(level), spdlog::string_view_t(line.data(), line.size()));
}

}  // namespace penstock
