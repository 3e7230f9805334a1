# frozen_string_literal: true

module Fairlead
  # A running engine. Threads ask it for requests (`wait_request`), or one loop polls it for events (`poll`).
  class Engine
    # struct fl_event: an int, padding, a token of 64 bits, a pointer.
    EVENT_BYTES = 24
    EVENTS = 64

    attr_reader :handle

    # Accepts connections from now on. Raises Error, e.g. for an address that is taken.
    def initialize(settings)
      slot = FFI::MemoryPointer.new(:pointer)
      Library.check(Library.fl_engine_start(settings.handle, slot))
      @handle = slot.read_pointer
      @events = FFI::MemoryPointer.new(EVENT_BYTES, EVENTS)
    end

    # The next request for the calling thread; nil once the engine has no more.
    def wait_request
      slot = FFI::MemoryPointer.new(:pointer)
      Library.check(Library.fl_engine_wait_request(@handle, -1, slot)) == Library::OK ? slot.read_pointer : nil
    end

    # One turn of the loop. Yields kind, token and the request's address (0 if there is none) of each event.
    # timeout_ms: how long it may wait; negative: without limit, 0: not at all.
    def poll(timeout_ms)
      count = if timeout_ms.zero?
                Library.fl_engine_poll_now(@handle, @events, EVENTS, 0)
              else
                Library.fl_engine_poll(@handle, @events, EVENTS, timeout_ms)
              end
      return if Library.check(count).zero?

      # One call for all of them: each FFI call costs more than taking the words apart here.
      @events.read_bytes(count * EVENT_BYTES).unpack("Q*").each_slice(3) do |kind, token, request|
        yield kind & 0xffff_ffff, token, request
      end
    end

    # The descriptors that a foreign select has to watch; call `leave` before it does.
    def descriptors
      FFI::MemoryPointer.new(:int, 2) do |both|
        Library.check(Library.fl_engine_descriptors(@handle, both))
        return both.read_array_of_int(2)
      end
    end

    def leave
      Library.check(Library.fl_engine_leave(@handle))
    end

    # Ends the loop's wait. From any thread.
    def wake
      Library.fl_engine_wake(@handle)
    end

    # No new connections, and a Close with 1001 for every WebSocket (RFC 6455 §7.4.1: going away).
    def drain
      Library.fl_engine_drain(@handle, 1001, nil)
    end

    # Whether requests run or WebSockets are still open.
    def busy?
      FFI::MemoryPointer.new(:size_t, 2) do |both|
        Library.check(Library.fl_engine_busy(@handle, both, both + FFI.type_size(:size_t)))
        return both.read_bytes(2 * FFI.type_size(:size_t)).unpack("J2").any?(&:positive?)
      end
    end

    # `wait_request` answers nil from now on.
    def dismiss
      Library.fl_engine_dismiss(@handle)
    end

    # Ends everything within deadline_ms.
    def stop(deadline_ms)
      Library.fl_engine_stop(@handle, deadline_ms)
    end

    # Listener `index` as it is bound: "127.0.0.1:8080".
    def address(index)
      Library.fl_engine_address(@handle, index)
    end
  end
end
