# frozen_string_literal: true

module Fairlead
  # N Ruby threads, each of which asks the engine for its next request and then reads its own socket. While one waits in
  # the library it has released the GVL.
  class Threads
    # What a task may wait for, when the wait blocks its thread. No state: all threads share one.
    class Waiter
      # send_timeout_ms: how long a client may take nothing before a send fails (--socket-timeout).
      def initialize(send_timeout_ms)
        @send_timeout_ms = send_timeout_ms
      end

      def wait_body(request)
        Library.check(Library.fl_request_wait_body_blocking(request.handle, -1))
      end

      def wait_writable(request)
        Library.check(Library.fl_request_wait_writable_blocking(request.handle, -1))
      end

      def receive(session)
        Library.fl_session_receive(session.handle, -1, session.message)
      end

      def wait_room(session)
        Library.fl_session_wait_room_blocking(session.handle, @send_timeout_ms) == Library::OK
      end

      # There is no loop that could watch a descriptor: compat §7.3.
      def watch(descriptor, _for_writing, _timeout_s)
        raise "unable to add fd #{descriptor} to the event queue"
      end

      def set_timeout(_seconds) = nil

      def suspend
        Thread.pass
      end
    end

    def initialize(engine, application, count, send_timeout_ms)
      @engine = engine
      @application = application
      @count = count
      @waiter = Waiter.new(send_timeout_ms)
    end

    # Until the engine is dismissed and the last task has ended.
    def run
      threads = Array.new(@count) { |core| Thread.new { serve(core) } }
      threads.each(&:join)
    end

    # No further requests. From any thread.
    def finish
      @engine.dismiss
    end

    private

    def serve(core)
      while (address = @engine.wait_request)
        Task.run(address, @waiter, core, @application)
      end
    end
  end
end
