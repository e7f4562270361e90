// The products that Kernels::bfloat16 has where a unit multiplies tiles of bfloat16: AMX. The other members are null.
#include "kernels/simd/dense.hpp"
#include "kernels/tables.hpp"

namespace omp_mlp {

extern const Kernels OMP_MLP_TABLE;
constexpr Kernels OMP_MLP_TABLE{
    .name = OMP_MLP_NAME,
    .dense_forward = dense_forward_rounded<Bfloat16InUnit>,
    .dense_backward = dense_backward_rounded<Bfloat16InUnit>,
    .dense_update = dense_update_rounded<Bfloat16InUnit>,
};

}  // namespace omp_mlp
