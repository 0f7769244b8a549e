#pragma once

#include "../sys/failure.h"
#include "spec.h"

namespace berth::builder {

/// For a node without user namespaces: root, but with no more of root's capabilities than building takes.
/// Above all not CAP_SYS_PTRACE, with which a path through /proc leads into other users' processes.
int keep_building_capabilities(Failure& failure);

/// For a node without user namespaces: the process stays root, but while this lives every look-up of a path
/// has the user's rights (setfsuid(2) also takes CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH and their like out of
/// effect).
class LookUpAsUser {
  public:
    LookUpAsUser(const Spec& spec, Failure& failure);
    ~LookUpAsUser();
    LookUpAsUser(const LookUpAsUser&) = delete;
    LookUpAsUser& operator=(const LookUpAsUser&) = delete;

    bool failed() const { return failed_; }

  private:
    bool active_ = false;
    bool failed_ = false;
};

}  // namespace berth::builder
