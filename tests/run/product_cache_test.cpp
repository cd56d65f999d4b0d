// SPDX-License-Identifier: Apache-2.0
#include "run/product_cache.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <barrier>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "base/log.hpp"
#include "data/temporary_folder.hpp"

namespace penstock::product_cache_test {
namespace {

using test::TemporaryFolder;

const std::string here = "penstock 0.1.0\tA card\tdriver 1.2\tcuBLASLt 130000";
const std::string product = "A card\t130000\t24\t16";
const std::string line = product + "\tseparate\t00ff\t1.25";
const std::string another_line = product + "\tfused\t00aa\t1.24";

std::string read(const std::filesystem::path& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

void write(const std::filesystem::path& path, const std::string& text) { std::ofstream(path) << text; }

std::ptrdiff_t files_in(const std::filesystem::path& folder) {
  return std::distance(std::filesystem::directory_iterator(folder), {});
}

/// A variable of the environment, while this object is there.
class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) {
    if (const char* before = std::getenv(name)) before_ = before;
    set(value);
  }
  ~Variable() { set(before_ ? before_->c_str() : nullptr); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  void set(const char* value) const {
    if (value)
      setenv(name_, value, 1);
    else
      unsetenv(name_);
  }

  const char* name_;
  std::optional<std::string> before_;
};

TEST(UsersCacheFolder, IsTheFirstThatIsNamed) {
  const Variable home("HOME", "/home/a"), caches("XDG_CACHE_HOME", "/caches"), own("PENSTOCK_CACHE", "mine");
  EXPECT_EQ(users_cache_folder(), "mine");
  const Variable empty("PENSTOCK_CACHE", "");
  EXPECT_EQ(users_cache_folder(), "/caches/penstock");
  const Variable relative("XDG_CACHE_HOME", "caches");
  EXPECT_EQ(users_cache_folder(), "/home/a/.cache/penstock") << "the standard has relative paths ignored";
  const Variable none("HOME", nullptr);
  EXPECT_EQ(users_cache_folder(), std::nullopt);
}

TEST(ProductCache, FindsWhatAnotherRunKept) {
  const TemporaryFolder temporary;
  const auto folder = temporary.path() / "not/there/yet";
  EXPECT_EQ(ProductCache(folder, here).find(product), std::nullopt);
  EXPECT_EQ(ProductCache(folder, here).keep(product, line), line);
  const ProductCache cache(folder, here);
  EXPECT_EQ(cache.find(product), line);
  EXPECT_EQ(cache.find(product + "0"), std::nullopt) << "another shape";
  EXPECT_EQ(files_in(cache.file_of(product).parent_path()), 1) << "no temporary is left";
}

TEST(ProductCache, OfAnotherCardOrVersionIsNone) {
  const TemporaryFolder temporary;
  ProductCache(temporary.path(), here).keep(product, line);
  for (const char* elsewhere :
       {"penstock 0.1.0\tB card\tdriver 1.2\tcuBLASLt 130000", "penstock 0.2.0\tA card\tdriver 1.2\tcuBLASLt 130000",
        "penstock 0.1.0\tA card\tdriver 1.3\tcuBLASLt 130000", "penstock 0.1.0\tA card\tdriver 1.2\tcuBLASLt 130100"}) {
    ProductCache other(temporary.path(), elsewhere);
    EXPECT_EQ(other.find(product), std::nullopt) << elsewhere;
    EXPECT_EQ(other.keep(product, another_line), another_line);
  }
  EXPECT_EQ(ProductCache(temporary.path(), here).find(product), line);
}

TEST(ProductCache, TheFirstOneWins) {
  const TemporaryFolder temporary;
  ProductCache first(temporary.path(), here), second(temporary.path(), here);
  EXPECT_EQ(first.keep(product, line), line);
  EXPECT_EQ(second.keep(product, another_line), line) << "measured meanwhile";
  EXPECT_EQ(second.find(product), line);
}

// Each run measures something else; all of them must go on with the same.
void race(const std::filesystem::path& folder, const std::vector<std::string>& products, std::ptrdiff_t files) {
  constexpr std::size_t runs = 4;
  std::vector<std::vector<std::string>> used(runs);
  std::barrier start(runs);
  {
    std::vector<std::jthread> threads;
    for (std::size_t run = 0; run < runs; ++run)
      threads.emplace_back([&, run] {
        ProductCache cache(folder, here);
        for (const std::string& name : products) {
          start.arrive_and_wait();
          used[run].push_back(cache.keep(name, name + "\tmeasured by run " + std::to_string(run)));
        }
      });
  }
  const ProductCache after(folder, here);
  for (std::size_t i = 0; i < products.size(); ++i)
    for (std::size_t run = 0; run < runs; ++run) ASSERT_EQ(used[run][i], after.find(products[i]));
  EXPECT_EQ(files_in(after.file_of(products.front()).parent_path()), files);
}

std::vector<std::string> many_products() {
  std::vector<std::string> products;
  for (int i = 0; i < 100; ++i) products.push_back("A card\t130000\t" + std::to_string(i));
  return products;
}

TEST(ProductCache, RunsThatMeasureAtTheSameMomentAgree) {
  const TemporaryFolder temporary;
  race(temporary.path(), many_products(), 100);
}

TEST(ProductCache, RunsThatReplaceADamagedFileAtTheSameMomentAgree) {
  const TemporaryFolder temporary;
  ProductCache cache(temporary.path(), here);
  for (const std::string& name : many_products()) {
    cache.keep(name, name + "\told");
    write(cache.file_of(name), "damaged");
  }
  race(temporary.path(), many_products(), 200);
}

TEST(ProductCache, ADamagedFileCountsAsNoneAndIsReplaced) {
  const TemporaryFolder temporary;
  ProductCache cache(temporary.path(), here);
  cache.keep(product, line);
  const auto file = cache.file_of(product);
  const std::string whole = read(file);
  std::vector<std::string> damaged{"", "\n", whole.substr(0, whole.size() / 2), whole + "x", std::string(100000, 'x')};
  for (std::size_t i = 0; i < whole.size(); ++i) {
    damaged.push_back(whole);
    damaged.back()[i] ^= 1;
  }
  start_log(0, 1);
  testing::internal::CaptureStderr();
  for (const std::string& text : damaged) {
    write(file, text);
    EXPECT_EQ(cache.find(product), std::nullopt) << text;
  }
  EXPECT_NE(testing::internal::GetCapturedStderr().find(file.string() +
                                                        ": damaged; it is left out, and its product measured again"),
            std::string::npos);
  EXPECT_EQ(cache.keep(product, another_line), another_line);
  testing::internal::CaptureStderr();
  EXPECT_EQ(cache.find(product), another_line);
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "") << "its place is taken";
  EXPECT_EQ(cache.keep(product, line), another_line);
  write(cache.file_of(product, 1), "damaged, too");
  EXPECT_EQ(cache.find(product), std::nullopt);
  EXPECT_EQ(cache.keep(product, line), line);
  EXPECT_EQ(cache.find(product), line);
  EXPECT_EQ(files_in(file.parent_path()), 3);
}

TEST(ProductCache, AFolderOrAPipeInItsPlaceIsDamage) {
  const TemporaryFolder temporary;
  ProductCache cache(temporary.path(), here);
  std::filesystem::create_directories(cache.file_of(product + "0"));
  EXPECT_EQ(cache.find(product + "0"), std::nullopt);
  EXPECT_EQ(cache.keep(product + "0", product + "0\tfused"), product + "0\tfused");
  EXPECT_EQ(cache.find(product + "0"), product + "0\tfused");
  cache.keep(product, line);
  std::filesystem::remove(cache.file_of(product));
  ASSERT_EQ(mkfifo(cache.file_of(product).c_str(), 0600), 0);
  EXPECT_EQ(cache.find(product), std::nullopt);
  EXPECT_EQ(cache.keep(product, line), line);
  EXPECT_EQ(cache.find(product), line);
}

TEST(ProductCache, AFolderThatCannotBeMadeIsNoError) {
  const TemporaryFolder temporary;
  write(temporary.path() / "file", "in the way");
  ProductCache cache(temporary.path() / "file/cache", here);
  start_log(0, 1);
  testing::internal::CaptureStderr();
  EXPECT_EQ(cache.find(product), std::nullopt);
  EXPECT_EQ(cache.keep(product, line), line);
  EXPECT_EQ(cache.keep(product + "0", another_line), another_line);
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_NE(said.find("measured products are not kept for other runs: " + temporary.path().string()),
            std::string::npos);
  EXPECT_EQ(said.find("measured products"), said.rfind("measured products")) << "once is enough: " << said;
}

TEST(ProductCache, WithoutAHomeNothingIsKept) {
  ProductCache cache(std::nullopt, here);
  EXPECT_EQ(cache.find(product), std::nullopt);
  EXPECT_EQ(cache.keep(product, line), line);
  EXPECT_EQ(cache.find(product), std::nullopt);
}

TEST(ProductCache, FilesFollowTheUmask) {
  const TemporaryFolder temporary;
  const mode_t before = umask(0);
  for (const auto& [mask, mode] : {std::pair(mode_t{0002}, 0664U), std::pair(mode_t{0077}, 0600U)}) {
    umask(mask);
    ProductCache cache(temporary.path() / std::to_string(mask), here);
    cache.keep(product, line);
    struct stat status {};
    ASSERT_EQ(stat(cache.file_of(product).c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777U, mode);
  }
  umask(before);
}

}  // namespace
}  // namespace penstock::product_cache_test
