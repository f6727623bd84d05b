// The merging loop shared by SentencePiece and byte-pair encoding: join the best adjacent pair until none can be
// joined.
#pragma once

#include <functional>
#include <optional>
#include <string_view>
#include <vector>

namespace longleaf {

// pieces    adjacent views into one text
// priority  of joining two adjacent pieces (given as the joined view and the left one's length); smaller joins first,
//           ties leftmost; nullopt when they may not be joined
// Returns the remaining pieces. Time O(n log n) in the number of pieces.
std::vector<std::string_view> merge_pieces(
    const std::vector<std::string_view>& pieces,
    const std::function<std::optional<float>(std::string_view joined, size_t left_length)>& priority);

}  // namespace longleaf
