// What tests may change about the emulated driver while it runs; found in its library by the name kSettings.
#pragma once

#include <cstddef>

namespace simt {

struct Settings {
  int driver_version = 13000;
  int cards = 1;
  int init_code = 0;  // what cuInit answers
  int compute = 90;
  size_t memory_bytes = size_t{16} << 30;
  size_t taken_bytes = 0;    // of the first card's memory, by other programs
  size_t context_bytes = 0;  // … by the driver for this one
  int multiprocessors = 4;
  size_t shared_bytes = 227 << 10;
  unsigned seed = 1;          // of the order in which threads run; 0: in order
  int launches_to_loss = -1;  // the card is lost at the launch after so many; -1: never
  int uploads_to_loss = -1;
  int allocations_to_full = -1;  // the allocation after so many finds no memory, as if another program took it
  bool refuses_graphs = false;
  bool has_blas = false;      // there is a library of products, which
  bool blas_refuses = false;  // knows no way to multiply,
  bool blas_is_wrong = false, blas_is_slow = false;
  int blas_products = 0;          // so far
  double ms = 0;                  // that have passed for the cards: one for a kernel, and ten on a slow one
  int slow_card = -1;             // its number
  int launches = 0, replays = 0;  // of kernels, and of graphs, so far
  char report[512] = {};          // what was wrong with the last kernel that failed
};

constexpr const char* kSettings = "simt_settings";

}  // namespace simt
