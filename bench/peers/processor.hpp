// Which machine this is.
#pragma once

#include <string>

namespace peers {

// "AMD EPYC 9B14 (family 25 model 17)"; the architecture where the system doesn't tell.
std::string processor_name();

}  // namespace peers
