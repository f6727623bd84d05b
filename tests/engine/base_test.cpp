#include <atomic>
#include <string>

#include "engine/base/checksum.h"
#include "engine/base/thread_pool.h"
#include "tests/support/check.h"

using namespace longleaf;

TEST(crc32c_matches_the_published_check_values) {
  CHECK_EQ(crc32c("123456789", 9), 0xe3069283u);  // RFC 3720, appendix B.4
  const std::string zeros(32, '\0');
  CHECK_EQ(crc32c(zeros.data(), 32), 0x8a9136aau);
  CHECK_EQ(crc32c("6789", 4, crc32c("12345", 5)), 0xe3069283u);
}

TEST(every_piece_of_a_loop_runs_once) {
  for (int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    for (int count : {0, 1, 7, 1000}) {
      std::vector<std::atomic<int>> seen(static_cast<size_t>(count));
      for (int round = 0; round < 50; ++round)
        pool.parallel_for(count, 3, [&](int begin, int end, int thread) {
          CHECK(thread >= 0 && thread < pool.n_threads());
          for (int i = begin; i < end; ++i) ++seen[static_cast<size_t>(i)];
        });
      for (auto& n : seen) CHECK_EQ(n.load(), 50);
    }
  }
}
