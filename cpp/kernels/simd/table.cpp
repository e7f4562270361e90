// The fast loops, on GCC/Clang vector types. This file is compiled once for each instruction set, with
// OMP_MLP_TABLE and OMP_MLP_NAME (its table), OMP_MLP_VECTOR_BYTES and OMP_MLP_REGISTERS (its registers)
// set.
//
// Everything that it includes from this folder is in an unnamed namespace. It uses nothing of the
// standard library that is a template or inline: the linker would keep one copy for the whole program,
// and that copy may be compiled for AVX-512, which the machine may not have.
//
// docs/benchmarks.md says what bounds the loops, and how near to the bounds they are.
#include "kernels/simd/activations.hpp"
#include "kernels/simd/bytes.hpp"
#include "kernels/simd/dense.hpp"
#include "kernels/simd/gram.hpp"
#include "kernels/simd/lists.hpp"
#include "kernels/simd/marks.hpp"
#include "kernels/simd/narrow.hpp"
#include "kernels/simd/nonzeros.hpp"
#include "kernels/simd/softmax.hpp"
#include "kernels/simd/uniform.hpp"
#include "kernels/tables.hpp"

namespace omp_mlp {

namespace {

constexpr Kernels float32_kernels{
    .name = OMP_MLP_NAME,
    .bfloat16 = nullptr,
    .bytes_together = OMP_MLP_HAS_BYTE_PRODUCTS ? 32 : 16,
    .gather_float32 = gather_float32,
    .gather_uint8 = gather_uint8,
    .mark_float32 = mark_float32,
    .mark_uint8 = mark_uint8,
    .to_bytes = to_bytes,
    .widen_uint8 = widen_uint8,
    .lists_forward = lists_forward,
    .lists_update = lists_update,
    .marked_forward = marked_forward,
    .transpose_marks = transpose_marks,
    .marked_update = marked_update,
    .gram_float32 = gram_float32,
    .gram_uint8 = gram_uint8,
    .dense_forward = dense_forward,
    .dense_backward = dense_backward,
    .dense_update = dense_update,
    .add_product = add_product,
    .narrow_forward = narrow_forward,
    .narrow_step = narrow_step,
    .draw_uniform = draw_uniform,
    .activate = activate,
    .multiply_derivative = multiply_derivative,
    .softmax = softmax,
};

constexpr Kernels with_bfloat16(Kernels kernels, const Kernels* bfloat16) {
    kernels.bfloat16 = bfloat16;
    return kernels;
}

#if OMP_MLP_HAS_BFLOAT16_PAIRS

constexpr Kernels in_bfloat16(Kernels kernels) {
    kernels.dense_forward = dense_forward_rounded<Bfloat16>;
    kernels.dense_backward = dense_backward_rounded<Bfloat16>;
    kernels.dense_update = dense_update_rounded<Bfloat16>;
    return kernels;
}

constexpr Kernels bfloat16_kernels = in_bfloat16(float32_kernels);
constexpr const Kernels* bfloat16 = &bfloat16_kernels;

#else

constexpr const Kernels* bfloat16 = nullptr;

#endif

}  // namespace

extern const Kernels OMP_MLP_TABLE;
constexpr Kernels OMP_MLP_TABLE = with_bfloat16(float32_kernels, bfloat16);

}  // namespace omp_mlp
