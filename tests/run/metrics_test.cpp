// SPDX-License-Identifier: Apache-2.0
#include "run/metrics.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <fstream>
#include <limits>
#include <sstream>
#include <vector>

#include "base/error.hpp"
#include "data/temporary_folder.hpp"
#include "run/file_size_limit.hpp"

namespace penstock::metrics_test {
namespace {

using test::FileSizeLimit;
using test::TemporaryFolder;

MetricsRow row_of(std::int64_t step) {
  return {.step = step,
          .tokens = step * 1024,
          .loss = 1.0 / 3.0 + static_cast<double>(step),
          .gradient_norm = 0.7 / static_cast<double>(step),
          .learning_rate = 6e-4,
          .seconds = 0.25,
          .tokens_per_second = 4096,
          .validation_loss = {},
          .skipped = false};
}

std::string line_of(std::int64_t step) { return text(row_of(step)) + "\n"; }
const std::string header_line = std::string(Metrics::header) + "\n";

std::string read(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::stringstream all;
  all << file.rdbuf();
  return all.str();
}

void write(const std::filesystem::path& path, const std::string& text) { std::ofstream(path) << text; }

std::vector<std::string> cells(const std::string& line) {
  std::vector<std::string> out(1);
  for (const char c : line)
    if (c == ',')
      out.emplace_back();
    else
      out.back() += c;
  return out;
}

TEST(MetricsText, BeginsAsTheContractSays) {
  EXPECT_TRUE(header_line.starts_with("step,tokens,loss,gradient_norm,learning_rate,seconds,tokens_per_second"));
  EXPECT_EQ(cells(Metrics::header).size(), cells(text(row_of(1))).size());
}

TEST(MetricsText, LossesAndNormsComeBackWithAllTheirBits) {
  for (const double value : {1.0 / 3.0, 5.5451774444795623, 1e-300, 0.1 + 0.2, std::numeric_limits<double>::max(),
                             std::numeric_limits<double>::denorm_min()}) {
    MetricsRow row = row_of(1);
    row.loss = row.gradient_norm = value;
    row.validation_loss = value;
    const std::vector<std::string> found = cells(text(row));
    for (const std::size_t column : {2U, 3U, 7U})
      EXPECT_EQ(std::strtod(found[column].c_str(), nullptr), value) << found[column];
  }
}

TEST(MetricsText, LearningRatesComeBackAsFloats) {
  MetricsRow row = row_of(1);
  row.learning_rate = 6e-4 * 7 / 30;
  EXPECT_EQ(std::strtof(cells(text(row))[4].c_str(), nullptr), static_cast<float>(row.learning_rate));
}

TEST(MetricsText, WithoutAnEvaluationItsCellIsEmpty) { EXPECT_EQ(cells(text(row_of(3)))[7], ""); }

TEST(MetricsText, ASkippedUpdateIsCounted) {
  MetricsRow row = row_of(3);
  EXPECT_EQ(cells(text(row)).back(), "0");
  row.skipped = true;
  EXPECT_EQ(cells(text(row)).back(), "1");
}

TEST(MetricsText, LinesAreReadBack) {
  MetricsRow row = row_of(3);
  row.validation_loss = 2.5;
  row.skipped = true;
  for (const MetricsRow& written : {row_of(3), row}) {
    const auto read = parse_row(text(written));
    ASSERT_TRUE(read);
    EXPECT_EQ(text(*read), text(written));
  }
  EXPECT_FALSE(parse_row(Metrics::header));
  EXPECT_FALSE(parse_row(text(row_of(3)).substr(0, 20)));
}

TEST(Metrics, WritesARowAStepAndFlushesEach) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "metrics.csv";
  Metrics metrics(path, 0);
  EXPECT_EQ(read(path), header_line);
  metrics.append(row_of(1));
  EXPECT_EQ(read(path), header_line + line_of(1)) << "before the object ends";
  metrics.append(row_of(2));
  EXPECT_EQ(read(path), header_line + line_of(1) + line_of(2));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1) << "nothing beside it";
}

TEST(Metrics, RowsOfALifeThatLostTheFileDoNotReachTheOther) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "metrics.csv";
  Metrics first(path, 0);
  first.append(row_of(1));
  Metrics second(path, 1);
  first.append(row_of(2));
  second.append(row_of(2));
  {
    const FileSizeLimit full(10);
    first.append(row_of(3));
  }
  EXPECT_EQ(read(path), header_line + line_of(1) + line_of(2));
  EXPECT_THROW(Metrics(path, 1, [] { throw SystemError("lost"); }), SystemError);
  EXPECT_EQ(read(path), header_line + line_of(1) + line_of(2));
}

TEST(Metrics, KeepsRowsUpToTheStepItRestartsFrom) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "metrics.csv";
  write(path, header_line + line_of(1) + line_of(2) + line_of(3) + line_of(4));
  Metrics metrics(path, 2);
  EXPECT_EQ(read(path), header_line + line_of(1) + line_of(2));
  metrics.append(row_of(3));
  EXPECT_EQ(read(path), header_line + line_of(1) + line_of(2) + line_of(3));
}

TEST(Metrics, DropsAHalfWrittenLine) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "metrics.csv";
  const std::string second = line_of(2);
  for (std::size_t length = 0; length < second.size(); ++length) {
    write(path, header_line + line_of(1) + second.substr(0, length));
    const Metrics metrics(path, 2);
    EXPECT_EQ(read(path), header_line + line_of(1)) << "after " << length << " bytes of the second row";
  }
}

TEST(Metrics, TellsTheTokensOfTheLastStep) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "metrics.csv";
  EXPECT_FALSE(Metrics(path, 0).tokens());
  write(path, header_line + line_of(1) + line_of(2) + line_of(3));
  EXPECT_EQ(Metrics(path, 2).tokens(), row_of(2).tokens);
}

TEST(Metrics, ADamagedFileStaysBesideAndOnlyWholeRowsAreKept) {
  const std::string torn = line_of(2).substr(0, line_of(2).rfind(',')) + "\n";  // without its last column
  for (const std::string& text :
       {std::string("garbage\nmore\n"), header_line + line_of(1) + "garbage\n" + line_of(3), std::string("\0\xff", 2),
        header_line + line_of(1) + torn + line_of(3), header_line + line_of(1) + line_of(2),
        header_line + line_of(1) + line_of(1) + line_of(2) + line_of(3), std::string()}) {
    const TemporaryFolder folder;
    const auto path = folder.path() / "metrics.csv";
    write(path, text);
    const Metrics metrics(path, 3);
    EXPECT_EQ(read(folder.path() / "metrics.damaged.csv"), text);
    std::string whole;
    for (const std::int64_t step : {1, 2, 3})
      if (text.find(line_of(step)) != std::string::npos) whole += line_of(step);
    EXPECT_EQ(read(path), header_line + whole) << text;
  }
}

TEST(Metrics, EveryDamagedFileStays) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "metrics.csv";
  for (int life = 0; life < 3; ++life) {
    write(path, "garbage\n");
    const Metrics metrics(path, 3);
  }
  for (const char* name : {"metrics.damaged.csv", "metrics.damaged-2.csv", "metrics.damaged-3.csv"})
    EXPECT_EQ(read(folder.path() / name), "garbage\n") << name;
}

TEST(Metrics, RowsThatBeginLaterAndHalfALineAreNoDamage) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "metrics.csv";
  write(path, header_line + line_of(16) + line_of(17) + line_of(18).substr(0, 9));  // of a folder that began at step 16
  const Metrics metrics(path, 17);
  EXPECT_EQ(read(path), header_line + line_of(16) + line_of(17));
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "metrics.damaged.csv"));
}

TEST(Metrics, AtStepZeroBeginsAnew) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "metrics.csv";
  write(path, header_line + line_of(1));
  const Metrics metrics(path, 0);
  EXPECT_EQ(read(path), header_line);
}

TEST(Metrics, WithoutAFileARestartHasNoRows) {
  const TemporaryFolder folder;
  const Metrics metrics(folder.path() / "metrics.csv", 5);
  EXPECT_EQ(read(folder.path() / "metrics.csv"), header_line);
}

// Reading this process' memory at address 0 gives EIO, also to root.
TEST(Metrics, RowsThatCannotBeReadAreNotReplaced) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "metrics.csv";
  std::filesystem::create_symlink("/proc/self/mem", path);
  EXPECT_THROW(Metrics(path, 5), InputError);
  EXPECT_TRUE(std::filesystem::is_symlink(path)) << "the file is still there";
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1) << "nothing beside it";
}

TEST(Metrics, AFileThatCannotBeOpenedIsNotReplaced) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "metrics.csv";
  ASSERT_EQ(mknod(path.c_str(), S_IFSOCK | 0600, 0), 0);
  EXPECT_THROW(Metrics(path, 5), InputError);
  EXPECT_TRUE(std::filesystem::is_socket(path));
}

TEST(Metrics, WithoutAFolderFails) { EXPECT_THROW(Metrics("no/such/folder/metrics.csv", 0), SystemError); }

TEST(Metrics, AFullDiskLeavesNoHalfRowsAndNoHoles) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "metrics.csv";
  Metrics metrics(path, 0);
  metrics.append(row_of(1));
  {
    const FileSizeLimit full(std::filesystem::file_size(path) + 10);
    EXPECT_NO_THROW(metrics.append(row_of(2)));
    EXPECT_NO_THROW(metrics.append(row_of(3)));
  }
  EXPECT_EQ(read(path), header_line + line_of(1)) << "ten bytes had room, and are no row";
  metrics.append(row_of(4));
  EXPECT_EQ(read(path), header_line + line_of(1) + line_of(2) + line_of(3) + line_of(4));
}

TEST(Metrics, SyncBringsRowsThatWaitOrThrows) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "metrics.csv";
  Metrics metrics(path, 0);
  metrics.append(row_of(1));
  {
    const FileSizeLimit full(std::filesystem::file_size(path) + 10);
    metrics.append(row_of(2));
    EXPECT_THROW(metrics.sync(), SystemError);
    EXPECT_EQ(read(path), header_line + line_of(1));
  }
  metrics.sync();
  EXPECT_EQ(read(path), header_line + line_of(1) + line_of(2));
}

}  // namespace
}  // namespace penstock::metrics_test
