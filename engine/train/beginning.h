// An adapter that a training begins with. Functions: any thread.
#pragma once

#include "engine/adapter/adapter_file.h"
#include "engine/train/decoder.h"

namespace longleaf::train {

// The additions and the memory that it has. Returns Corrupt for additions that are none of LoraSettings'.
Status take_shape(const AdapterContents& adapter, LoraSettings& lora, MemorySettings& memory);

// Its values become those of parameters of that shape. Returns Corrupt where they are not the same matrices.
Status take_values(const AdapterContents& adapter, Parameters& parameters);

}  // namespace longleaf::train
