// What changes from pass to pass, sent before the layers, and the recordings that it makes possible.
#include <algorithm>

#include "engine/transformer/stage.h"

namespace longleaf {

using kernels::Backend;
using kernels::DevicePtr;
using kernels::Span;

Status Stage::send_inputs(const Pass& pass, int end) {
  const Backend& b = backend_;
  std::vector<int32_t> keys = {pass.first_key};
  keys.insert(keys.end(), pass.positions.begin(), pass.positions.end());
  LL_RETURN_IF_ERROR(b.upload(b.self, keys_.data(), keys.data(), keys.size() * sizeof(int32_t)));
  plans_.clear();
  plan_of_.clear();
  blocks_ = pass.strategy.blocks({pass.first_key, pass.n_tokens()});
  for (int i = first_layer_; i < end; ++i) {
    const bool has_window = model_.config().layers[static_cast<size_t>(i)].window > 0;
    for (const QueryBlock& queries : blocks_) {
      const Phase phase = queries.n_tokens == 1 ? Phase::Decode : Phase::Prefill;
      LL_RETURN_IF_ERROR(add_plan(pass.strategy.attend(i, phase, queries, pass.store), queries.first_key,
                                  has_window ? std::span(pass.store.positions()) : std::span<const int32_t>()));
    }
  }
  return send_plans();
}

// Layers see the same plan, but for windows.
Status Stage::add_plan(const AttentionPlan& plan, int first_key, std::span<const int32_t> positions) {
  assert(!plan.groups.empty() && model_.config().n_kv_heads % static_cast<int>(plan.groups.size()) == 0);
  Plan merged{{}, {0}};
  for (const auto& group : plan.groups) {
    const auto spans = merge_spans(group, first_key, positions);
    merged.spans.insert(merged.spans.end(), spans.begin(), spans.end());
    merged.begins.push_back(static_cast<int32_t>(merged.spans.size()));
  }
  auto place = std::find(plans_.begin(), plans_.end(), merged);
  if (place == plans_.end()) place = plans_.insert(place, std::move(merged));
  plan_of_.push_back(static_cast<uint32_t>(place - plans_.begin()));
  return {};
}

// What the device has already is not sent again.
Status Stage::send_plans() {
  if (plans_ == sent_) return {};
  const Backend& b = backend_;
  size_t most_spans = 8, most_begins = 2;  // of a plan
  for (const Plan& plan : plans_) {
    while (most_spans < plan.spans.size()) most_spans *= 2;
    most_begins = std::max(most_begins, plan.begins.size());
  }
  spans_stride_ = std::max(spans_stride_, most_spans);
  begins_stride_ = std::max(begins_stride_, most_begins);
  std::vector<Span> spans;
  std::vector<int32_t> begins;
  for (size_t i = 0; i < plans_.size(); ++i) {
    spans.resize(i * spans_stride_);
    begins.resize(i * begins_stride_);
    spans.insert(spans.end(), plans_[i].spans.begin(), plans_[i].spans.end());
    begins.insert(begins.end(), plans_[i].begins.begin(), plans_[i].begins.end());
  }
  sent_.clear();  // until they are there
  LL_RETURN_IF_ERROR(grow(spans_, b, plans_.size() * spans_stride_ * sizeof(Span)));
  LL_RETURN_IF_ERROR(grow(groups_, b, plans_.size() * begins_stride_ * sizeof(int32_t)));
  LL_RETURN_IF_ERROR(b.upload(b.self, spans_.data(), spans.data(), spans.size() * sizeof(Span)));
  LL_RETURN_IF_ERROR(b.upload(b.self, groups_.data(), begins.data(), begins.size() * sizeof(int32_t)));
  sent_ = plans_;
  return {};
}

Status Stage::compute_recorded(const Pass& pass, int end) {
  constexpr size_t kMostRecordings = 16;
  const Backend& b = backend_;
  if (pass.stop.stop_requested()) return Status(Code::Cancelled, "Stopped");
  auto way = way_of(pass, end);
  auto known = recorded_.find(way);
  if (known != recorded_.end() && known->second != nullptr) return replay(known->second, pass, end);
  if (known == recorded_.end()) {
    LL_RETURN_IF_ERROR(compute(pass, end));
    if (recorded_.size() >= kMostRecordings) forget_recordings();
    recorded_[way_of(pass, end)] = nullptr;  // computing may have moved something
    return {};
  }
  const auto recording = b.record(b.self, [&] { return compute(pass, end); });
  if (!recording.ok()) return without_recordings(recording.status(), pass, end);
  known->second = *recording;
  return replay(*recording, pass, end);
}

Status Stage::replay(void* recording, const Pass& pass, int end) {
  const Status status = backend_.replay(backend_.self, recording);
  return status.ok() ? status : without_recordings(status, pass, end);
}

// A device that cannot, or has no memory for it, does without from now on.
Status Stage::without_recordings(const Status& why, const Pass& pass, int end) {
  if (why.code() != Code::Unsupported && why.code() != Code::NoMemory) return why;
  forget_recordings();
  records_ = false;
  return compute(pass, end);
}

// All that the kernels of a pass are given, as far as it may differ from one to the next.
std::vector<uint64_t> Stage::way_of(const Pass& pass, int end) const {
  const auto place = [](DevicePtr p) { return static_cast<uint64_t>(reinterpret_cast<uintptr_t>(p)); };
  const kernels::KvView view = pass.store.view(first_layer_);
  const Additions* additions = pass.strategy.additions();
  std::vector<uint64_t> way = {static_cast<uint64_t>(pass.n_tokens()),
                               static_cast<uint64_t>(end),
                               additions == nullptr ? 0 : additions->id(),
                               place(view.page_table),
                               static_cast<uint64_t>(view.type),
                               place(spans_.data()),
                               place(groups_.data()),
                               place(low_.data()),
                               place(added_.data()),
                               backend_.moved(backend_.self),
                               spans_stride_,
                               begins_stride_};
  for (const uint32_t plan : plan_of_) way.push_back(plan << 8 | (plans_[plan].begins.size() - 1));
  for (const QueryBlock& block : blocks_)
    way.push_back(static_cast<uint64_t>(block.first_key - pass.first_key) << 32 |
                  static_cast<uint64_t>(block.n_tokens));
  return way;
}

void Stage::forget_recordings() {
  for (const auto& [way, recording] : recorded_)
    if (recording != nullptr) backend_.forget(backend_.self, recording);
  recorded_.clear();
}

}  // namespace longleaf
