// Section parallelism (node parallelism; Figure 1 of the note): every thread owns a section of the
// hidden units of every layer, and passes their activations and deltas to the others.
//
// A section holds the weights into its units. Of the output layer, it holds the weights out of its last
// hidden units. All of that lies in memory of its own. So a network with one hidden layer has one
// barrier a batch:
//   own activations = phi(x W[:, own] + b[own]);   own part of z = own activations W_out[own, :]
//   -- barrier --
//   z = sum of the parts in the order of the sections; loss and deltas of the outputs, by every section
//   own deltas, and the step of the own weights.
// Every further hidden layer has two more barriers: one after its inputs, the activations below it, are
// written for all; and one after every section has written what its own deltas add to the deltas below.
// Small batches are read together and make one visit of the first layer (network.hpp). That takes the
// products of their samples; every section computes the part of its own columns. Sections are whole
// cache lines of 16 units, so there is no false sharing and no vector is cut in two.
#pragma once

#include <memory>

#include "training/strategy.hpp"

namespace omp_mlp {

// Needs at least one hidden layer.
std::unique_ptr<TrainingStrategy> make_sections(const Task& task, Team& team, const Parameters& start);

}  // namespace omp_mlp
