// A multilayer perceptron as mathematics: forward, loss and gradient as functions of (network,
// parameters, batch, workspace). Nothing here knows of replicas, rounds or merges.
//
// Shapes: a batch has S samples; layer l has activations (S, fan_out_l) and deltas of the same shape,
// delta = d loss / d z. The loss of a sample is that of a row of loss.cpp, times the sample's weight; the
// loss of a batch is the mean over its samples.
#pragma once

#include <span>
#include <vector>

#include "data/centering.hpp"
#include "data/reading.hpp"
#include "data/samples.hpp"
#include "kernels/kernels.hpp"
#include "kernels/product_memory.hpp"
#include "network/dropout.hpp"
#include "network/first_layer.hpp"
#include "network/loaded_samples.hpp"
#include "network/loss.hpp"
#include "network/parameters.hpp"
#include "network/row_blocks.hpp"
#include "network/units.hpp"

namespace omp_mlp {

// The memory of a stretch of samples: one batch, or several small ones that are read together.
//
// The first layer takes most of the time. It is visited once for the stretch, and not once for each
// batch; see begin_batch. A workspace is reused from stretch to stretch.
class Workspace {
public:
    // For stretches of up to `samples` samples of X. `centering`: null, or the means that are taken off the
    // inputs. `shifts`: whether steps then add to `shift`, where rows are not centered. See
    // begin_centered. `dropout`: of hidden units, once leave_out has named the samples.
    Workspace(const Network& network, const Samples& X, Index samples, Reading reading,
              const Centering* centering = nullptr, bool shifts = true, const Dropout& dropout = {});

    // Loads the samples `ids` as one batch. Prefetches the samples `next`, which will be loaded after them.
    void load(const Kernels& kernels, std::span<const Index> ids, std::span<const Index> next = {});

    // From now on, hidden units are left out of the loaded samples, which are `ids` of an epoch.
    void leave_out(Index epoch, std::span<const Index> ids);

    // The calls below concern the loaded samples [first, first + count) only.
    void begin_batch(Index first, Index count);

    // Once the outputs' deltas are known: leaves the samples s of the batch without keep[s] out of the
    // layers above the first, and out of its gradient.
    void drop(const std::vector<bool>& keep);
    // Puts the first layer's deltas of the batch back in their places, with zeros for those left out.
    void undrop();
    // Once the deltas of the first layer are complete: forgets the samples that were left out of any
    // batch.
    void forget_dropped();

    Index loaded() const { return loaded_; }
    Index samples() const { return samples_; }  // of the batch
    Index first() const { return first_; }      // loaded sample of the batch
    const LoadedSamples& inputs() const { return inputs_; }

    // Rows of the batch in layer l; a row has the layer's stride.
    float* activations(std::size_t l) { return units_[l].row(first_); }
    float* deltas(std::size_t l) { return deltas_[l].data() + first_ * strides_[l]; }
    float* outputs() { return activations(units_.size() - 1); }
    // Of the batch, in hidden layer l: z becomes a, with dropout; and deltas(l) *= phi'(z).
    void activate(const Kernels& kernels, std::size_t l);
    void multiply_derivative(const Kernels& kernels, std::size_t l) {
        units_[l].multiply_derivative(kernels, first_, samples_, deltas(l));
    }
    // Rows of all loaded samples in the first layer.
    float* all_activations() { return units_.front().row(0); }
    float* all_deltas() { return deltas_.front().data(); }

    // The first layer of `parameters`, or of their gradient, with what belongs to it here.
    template <typename Float>
    FirstWeights<Float> first_weights(const LayerView<Float>& layer) {
        return {.weights = layer.weights,
                .biases = layer.biases,
                .shift = shift.empty() ? nullptr : shift.data(),
                .raw_biases = raw_biases.empty() ? nullptr : raw_biases.data(),
                .fan_out = layer.fan_out};
    }

    Buffer shift;       // s of centering.hpp, or empty
    Buffer raw_biases;  // as FirstWeights has them, or empty
    FirstScratch first_scratch;
    // The weights of a narrow output layer, transposed (outputs x padded fan_in), or empty. While they
    // are here, they replace those in the parameters, which take no steps.
    Buffer output_weights;
    ProductMemory product_memory;
    Buffer gradient_rows;  // of row_blocks.hpp
    Buffer products;       // of the loaded samples with each other, MarkedRows::most x MarkedRows::most

private:
    LoadedSamples inputs_;
    std::vector<Index> strides_;  // of each layer
    std::vector<Units> units_;    // of each layer
    std::vector<Buffer> deltas_;
    Dropout dropout_;
    std::vector<Index> ids_;  // of the loaded samples, with dropout
    Index epoch_ = 0;
    Index loaded_ = 0;
    Index first_ = 0;
    Index samples_ = 0;
    std::vector<Index> kept_;       // of the batch, if any were dropped
    std::vector<bool> is_dropped_;  // of the loaded samples, likewise
};

// Between these two calls, the workspace trains on centered inputs, and `parameters` are those of
// centering.hpp: (W, v) if there is a shift, else (Wc, bc). Before and after, `parameters` are a network
// on raw inputs. Without `fold`, mean[k] shift is still to be added to row k of W afterwards, if there
// is a shift.
void begin_centered(const Network& network, Workspace& workspace, Parameters& parameters);
void end_centered(const Kernels& kernels, const Network& network, bool fold, Workspace& workspace,
                  Parameters& parameters);

// The first layer's z of all loaded samples.
void first_forward(const Kernels& kernels, const Network& network, const Parameters& parameters,
                   Workspace& workspace);

// Several batches in one stretch: their steps are taken in the first layer's z at once, and in its
// weights later, all together. With W the weights at the beginning of the stretch and step_t = scale_t
// delta_t,
//     z_s = b + x_s W + sum over t in earlier batches of (x_s . x_t + 1) step_t,
// which is what descending batch by batch gives (s-step SGD; Devarakonda & Demmel 2018).
// multiply_samples fills workspace.products with x_s . x_t; add_earlier_steps adds the sum for the
// batch.
void multiply_samples(const Kernels& kernels, const Network& network, Index batch, Workspace& workspace);
void add_earlier_steps(const Kernels& kernels, const Network& network, Workspace& workspace);

// Everything above the first layer, for the batch. The last layer then holds z, too (what
// softmax or logistic is applied to).
void upper_forward(const Kernels& kernels, const Network& network, const Parameters& parameters,
                   Workspace& workspace);

// Whether training is faster with the output layer transposed; and the way there and back.
bool has_narrow_output(const Network& network);
void transpose_output(const Network& network, const Parameters& parameters, Workspace& workspace);
void restore_output(const Network& network, const Workspace& workspace, Parameters& parameters);

// Turns z of the last layer into outputs: rows of workspace.outputs().
void apply_output(const Kernels& kernels, const Network& network, Workspace& workspace);

// Fills the deltas of the last layer, and returns the sum (not the mean)
// of the samples' losses.
double loss_and_delta(const Kernels& kernels, const Network& network, const Targets& targets,
                      std::span<const Index> ids, Workspace& workspace);

// target += scale * sum over the samples of the gradient at `parameters`; first, batch by batch, for the
// layers above the first, which leaves scale times its deltas in the first layer; then, for all loaded
// samples, in the first layer. The two may be the same object: each layer's delta is handed down before
// the layer changes. So scale = -learning_rate / S is one step of gradient descent, and scale = 1 / S on
// zeros is the gradient.
void add_upper_gradient(const Kernels& kernels, const Network& network, const Parameters& parameters,
                        float scale, Workspace& workspace, Parameters& target);
void add_first_gradient(const Kernels& kernels, const Network& network, Workspace& workspace,
                        Parameters& target);

// The same two gradients in blocks of rows. Nothing reads the parameters of a block's rows after it was handed out, so
// `use` may step them.
void hand_out_upper_gradient(const Kernels& kernels, const Network& network,
                             const Parameters& parameters, float scale, Workspace& workspace,
                             const RowBlocks::Use& use);
void hand_out_first_gradient(const Kernels& kernels, const Network& network, Workspace& workspace,
                             const RowBlocks::Use& use);

}  // namespace omp_mlp
