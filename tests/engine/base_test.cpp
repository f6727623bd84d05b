#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <string>
#include <thread>

#include "engine/base/checksum.h"
#include "engine/base/files.h"
#include "engine/base/host_memory.h"
#include "engine/base/processors.h"
#include "engine/base/thread_pool.h"
#include "tests/support/check.h"
#include "tests/support/temporary_folder.h"

using namespace longleaf;

TEST(crc32c_matches_the_published_check_values) {
  CHECK_EQ(crc32c("123456789", 9), 0xe3069283u);  // RFC 3720, appendix B.4
  const std::string zeros(32, '\0');
  CHECK_EQ(crc32c(zeros.data(), 32), 0x8a9136aau);
  CHECK_EQ(crc32c("6789", 4, crc32c("12345", 5)), 0xe3069283u);
}

TEST(crc32c_is_the_same_with_and_without_the_processors_instruction) {
  std::string bytes;
  for (int i = 0; i < 300; ++i) bytes += static_cast<char>(i * i * 7 + 3);
  for (size_t begin = 0; begin < 9; ++begin)
    for (size_t n = 0; begin + n <= bytes.size(); ++n)
      CHECK_EQ(crc32c(bytes.data() + begin, n, 17), crc32c_by_tables(bytes.data() + begin, n, 17));
}

TEST(a_program_uses_the_processors_that_it_may_run_on) {
  cpu_set_t before;
  REQUIRE(sched_getaffinity(0, sizeof before, &before) == 0);
  CHECK(usable_processors() >= 1 && usable_processors() <= CPU_COUNT(&before));
  cpu_set_t one;
  CPU_ZERO(&one);
  for (int i = 0; CPU_COUNT(&one) == 0; ++i)
    if (CPU_ISSET(i, &before)) CPU_SET(i, &one);
  REQUIRE(sched_setaffinity(0, sizeof one, &one) == 0);
  CHECK_EQ(usable_processors(), 1);
  CHECK(sched_setaffinity(0, sizeof before, &before) == 0);
}

TEST(a_control_group_gives_no_more_processors_than_it_has_time_for) {
  const test::TemporaryFolder root;
  std::filesystem::create_directories(root / "a/b/c");
  const auto limit = [&](const char* group, const char* text) {
    CHECK(write_file(root / group / "cpu.max", text).ok());
  };
  CHECK_EQ(processors_of_group(root.path(), "/a/b/c"), 0);
  limit("a/b", "max 100000\n");
  CHECK_EQ(processors_of_group(root.path(), "/a/b/c"), 0);
  limit("a/b", "250000 100000\n");
  CHECK_EQ(processors_of_group(root.path(), "/a/b/c"), 3);
  limit("a", "50000 100000\n");
  CHECK_EQ(processors_of_group(root.path(), "/a/b/c"), 1);
  CHECK_EQ(processors_of_group(root.path(), "/"), 0);
  limit("", "400000 100000\n");
  CHECK_EQ(processors_of_group(root.path(), ""), 4);
  limit("", "nonsense");
  CHECK_EQ(processors_of_group(root.path(), "/"), 0);
}

TEST(memory_that_is_left_is_what_machine_and_control_group_leave) {
  const test::TemporaryFolder root;
  std::filesystem::create_directories(root / "a/b");
  const auto put = [&](const char* file, const char* text) { CHECK(write_file(root / file, text).ok()); };
  const auto left = [&] { return free_host_memory(root / "meminfo", root.path(), "/a/b"); };
  CHECK(!left());
  put("meminfo", "MemTotal:  9000 kB\nMemFree:  100 kB\nMemAvailable:  4000 kB\nSwapFree:   1000 kB\n");
  CHECK_EQ(*left(), uint64_t{5000 * 1024});
  put("a/memory.max", "max\n");
  put("a/memory.current", "7\n");
  CHECK_EQ(*left(), uint64_t{5000 * 1024});
  put("a/b/memory.max", "3000000\n");
  put("a/b/memory.current", "2000000\n");
  CHECK_EQ(*left(), uint64_t{1000000});
  put("a/b/memory.stat", "anon 1500000\ninactive_file 300000\nactive_file 100000\nslab_reclaimable 7\n");
  CHECK_EQ(*left(), uint64_t{1400007});
  put("a/memory.max", "7\n");
  CHECK_EQ(*left(), uint64_t{0});
  CHECK(free_host_memory().value_or(1) > 0);  // of this machine
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

namespace {

sem_t is_held, may_go;

// In a signal handler: the thread runs no further, as if the system gave its processor to others.
void hold(int) {
  sem_post(&is_held);
  while (sem_wait(&may_go) != 0) {
  }
}

// A worker of a pool of two.
pthread_t worker_of(ThreadPool& pool) {
  std::atomic<bool> known{false};
  pthread_t worker{};
  pool.parallel_for(2, 1, [&](int, int, int thread) {
    if (thread == 1) worker = pthread_self(), known = true;
    while (!known) std::this_thread::yield();
  });
  return worker;
}

}  // namespace

TEST(a_loop_does_not_wait_for_a_thread_that_the_system_does_not_run) {
  sem_init(&is_held, 0, 0), sem_init(&may_go, 0, 0);
  std::signal(SIGUSR1, hold);
  alarm(60);  // ends the program where it would wait for ever
  ThreadPool pool(2);
  CHECK_EQ(pthread_kill(worker_of(pool), SIGUSR1), 0);
  while (sem_wait(&is_held) != 0) {
  }
  std::atomic<int> done{0};
  for (int loop = 0; loop < 100; ++loop) pool.parallel_for(8, 1, [&](int, int, int) { ++done; });
  CHECK_EQ(done.load(), 800);
  sem_post(&may_go);
  alarm(0);
}
