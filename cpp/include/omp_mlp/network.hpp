// A multilayer perceptron as mathematics: forward, loss and gradient as functions of (network,
// parameters, batch, workspace). Nothing here knows of replicas, rounds or merges.
//
// Shapes: a batch has S samples; layer l has activations (S, fan_out_l) and deltas of the same shape,
// delta = d loss / d z. The loss of a sample is
//   cross-entropy  -log p(correct)             on softmax outputs,
//   squared error  1/2 sum_k (o_k - t_k)^2     on identity or logistic outputs,
// times its weight; the loss of a batch is the mean over its samples.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "omp_mlp/first_layer.hpp"
#include "omp_mlp/kernels.hpp"
#include "omp_mlp/parameters.hpp"
#include "omp_mlp/samples.hpp"

namespace omp_mlp {

enum class Output { softmax, identity, logistic };

struct Network {
    Shape shape;
    Activation activation;  // of every hidden layer
    Output output;          // softmax goes with cross-entropy, the others with squared error
};

// What the outputs are compared with; one of the two pointers is set.
struct Targets {
    const std::int32_t* classes = nullptr;  // the correct class of each sample
    const float* values = nullptr;          // samples x outputs
    const float* weights = nullptr;         // of each sample; none: all 1
};

// Has the memory start on a sample that will be read soon. Shuffled samples lie anywhere: asking for one
// while another is worked on hides the wait.
void prefetch_sample(const Samples& X, Index id);

// Scratch memory for batches of up to `samples` samples; reused from batch to batch.
class Workspace {
public:
    Workspace(const Network& network, Index samples, Reading reading);

    // Reads the samples `ids` of X into the workspace, and has the memory start on `next`, which will be
    // read after them.
    void load(const Kernels& kernels, const Samples& X, std::span<const Index> ids,
              std::span<const Index> next = {});

    // Reads one sample together with the one after it: for online training, sparse.
    void load_pair(const Kernels& kernels, const Samples& X, Index id, Index next);

    // Keeps only the samples s of the batch for which keep[s]; after the outputs' deltas are known.
    void drop(const std::vector<bool>& keep);

    Index samples() const { return samples_; }
    Reading reading() const { return reading_; }

    std::vector<SparseRow> rows;           // the batch, as lists
    std::vector<SparsePair> pairs;         // the batch, as pairs ...
    std::vector<const float*> dense_rows;  // ... and each of its samples as a dense row
    SparsePair pair{};                     // what load_pair read
    std::span<std::uint16_t>
        first_weights;  // lists only: a copy of the first layer's in bfloat16, or empty
    Buffer
        inputs;  // the batch as a matrix (samples x input_stride); with pairs, what dense_rows point to
    Index input_stride;
    std::vector<Buffer> activations;  // of each layer; of the last: z, then the outputs
    std::vector<Buffer> deltas;       // of each layer
    Buffer panel;                     // scratch of dense_backward

    BatchTranspose transpose() { return {present_.data(), transposed_.data(), inputs_.data()}; }

private:
    void load_lists(const Kernels& kernels, const Samples& X, std::span<const Index> ids,
                    std::span<const Index> next);
    void load_pairs(const Kernels& kernels, const Samples& X, std::span<const Index> ids,
                    std::span<const Index> next);
    void load_matrix(const Kernels& kernels, const Samples& X, std::span<const Index> ids,
                     std::span<const Index> next);
    void make_room(std::size_t entries);

    std::vector<Index> strides_;  // of each layer
    Reading reading_;
    Index samples_ = 0;
    std::vector<std::uint32_t> present_;
    std::vector<std::int32_t> inputs_;
    Buffer transposed_;
    std::vector<std::int32_t> indices_;  // of all lists or pairs of the batch, one after the other
    std::vector<float> values_;
    std::vector<float> second_values_;
    std::vector<float> zeros_;
};

// The first layer's z, and then everything above it. What `upper_forward` leaves in the last layer are z too
// (what softmax or logistic is applied to).
void first_forward(const Kernels& kernels, const Network& network, const Parameters& parameters,
                   Workspace& workspace);
void upper_forward(const Kernels& kernels, const Network& network, const Parameters& parameters,
                   Workspace& workspace);

// Turns z of the last layer into outputs: rows of `workspace.activations.back()`.
void apply_output(const Kernels& kernels, const Network& network, Workspace& workspace);

// Applies the output function, fills the deltas of the last layer, and returns the sum (not the mean)
// of the samples' losses.
double loss_and_delta(const Kernels& kernels, const Network& network, const Targets& targets,
                      std::span<const Index> ids, Workspace& workspace);

// target += scale * sum over the samples of the gradient at `parameters`; first for the layers above the
// first, which also fills the first layer's deltas, then for the first. The two may be the same object: each
// layer's delta is handed down before the layer changes. So scale = -learning_rate / S is one step of gradient
// descent, and scale = 1 / S on zeros is the gradient.
void add_upper_gradient(const Kernels& kernels, const Network& network, const Parameters& parameters,
                        float scale, Workspace& workspace, Parameters& target);
void add_first_gradient(const Kernels& kernels, const Network& network, float scale,
                        Workspace& workspace, Parameters& target);

// add_first_gradient for the first sample of workspace.pair, and first_forward for its second: one visit of the weights.
void add_first_gradient_then_forward(const Kernels& kernels, const Network& network, float scale,
                                     Workspace& workspace, Parameters& parameters);

}  // namespace omp_mlp
