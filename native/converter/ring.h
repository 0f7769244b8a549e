#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

namespace berth::converter {

/// A bounded queue of byte buffers between one thread that fills them and one that empties them. The buffers
/// are allocated once.
class Ring {
  public:
    struct Piece {
        std::vector<uint8_t> bytes;
        size_t size = 0;
    };

    Ring(size_t pieces, size_t piece_size) : pieces_(pieces) {
        for (Piece& piece : pieces_) piece.bytes.resize(piece_size);
    }

    /// The writer's: the next piece to fill, when there is one. Null once the reader has gone.
    Piece* begin_write() {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return stopped_ || written_ - read_ < pieces_.size(); });
        return stopped_ ? nullptr : &pieces_[written_ % pieces_.size()];
    }
    void end_write() { advance(written_); }
    /// No more will come.
    void close() { set(closed_); }

    /// The reader's: the next full piece, when there is one. Null at the end.
    const Piece* begin_read() {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return closed_ || read_ < written_; });
        return read_ < written_ ? &pieces_[read_ % pieces_.size()] : nullptr;
    }
    void end_read() { advance(read_); }
    /// No more is wanted.
    void stop() { set(stopped_); }

  private:
    void advance(uint64_t& count) {
        const std::lock_guard lock(mutex_);
        ++count;
        changed_.notify_one();
    }
    void set(bool& flag) {
        const std::lock_guard lock(mutex_);
        flag = true;
        changed_.notify_all();
    }

    std::vector<Piece> pieces_;
    std::mutex mutex_;
    std::condition_variable changed_;
    uint64_t written_ = 0;
    uint64_t read_ = 0;
    bool closed_ = false;
    bool stopped_ = false;
};

}  // namespace berth::converter
