# frozen_string_literal: true

module Fairlead
  # One thread that polls the engine and runs each request in a fiber of its own.
  #
  # A task that waits names itself to the engine by its number and yields; the event with that number resumes it, and it
  # asks again, because a wake-up is a hint. Descriptors of the application (compat §7.1) are watched by IO.select, and
  # only while some task has one: without, a turn is one call of the library.
  class Fibers
    # A task's way to wait. `Fiber.yield` comes back with :ready, :timeout or :turn.
    class Waiter
      attr_reader :number, :fiber, :watched, :expected

      def initialize(loop, number, core, send_timeout_ms)
        @loop = loop
        @number = number
        @core = core
        @send_timeout_ms = send_timeout_ms
        @watched = {}
        @timeout_s = 0
      end

      def start(address, application)
        @fiber = Fiber.new do
          Task.run(address, self, @core, application)
          @loop.ended(self, @core)
        end
        @fiber.resume
      end

      def wait_body(request)
        pause if Library.check(Library.fl_request_wait_body(request.handle, @number)) == Library::PENDING
      end

      def wait_writable(request)
        pause while Library.check(Library.fl_request_wait_writable(request.handle, @number)) == Library::PENDING
      end

      def receive(session)
        handle = session.handle
        message = session.message
        while (status = Library.fl_session_receive_or_wake(handle, @number, message)) == Library::PENDING
          pause
        end
        status
      end

      def wait_room(session)
        deadline = @loop.deadline(self, @send_timeout_ms)
        while Library.fl_session_wait_room(session.handle, @number) == Library::PENDING
          next unless pause == :timeout

          Library.fl_session_forget(session.handle, @number)
          return false
        end
        true
      ensure
        @loop.cancel(deadline)
      end

      # The next `suspend` ends when the descriptor is ready. Only the first time-out counts until then (compat §1.4).
      def watch(descriptor, for_writing, timeout_s)
        @watched[IO.for_fd(descriptor, autoclose: false)] = for_writing
        set_timeout(timeout_s)
      rescue SystemCallError
        raise "unable to add fd #{descriptor} to the event queue"
      end

      def set_timeout(seconds)
        @timeout_s = seconds if @timeout_s.zero? && seconds.positive?
      end

      # Until a watched descriptor is ready or the time-out is over; with neither until the loop's next turn.
      def suspend
        deadline = @loop.deadline(self, @timeout_s * 1000) if @timeout_s.positive?
        if @watched.empty? && deadline.nil?
          @loop.next_turn(self)
        else
          @loop.watch(self)
        end
        @expected = :turn
        Fiber.yield
      ensure
        @expected = nil
        @loop.cancel(deadline)
        @loop.forget(self)
        @watched = {}
        @timeout_s = 0
      end

      private

      # Until the engine has something for this task.
      def pause
        unless Fiber.current.equal?(@fiber)
          raise FiberError, "a request waits in its own fiber only: this one was made by the application"
        end

        Fiber.yield
      end
    end

    def initialize(engine, application, count, send_timeout_ms)
      @engine = engine
      @application = application
      @send_timeout_ms = send_timeout_ms
      @waiters = {}
      @deadlines = {}
      @watching = {}
      @runnable = []
      @cores = Array.new(count) { |index| count - 1 - index }
      @numbers = 0
      @finishing = false
      @on_event = method(:event)
    end

    # Until `finish`, and until the last task has ended.
    def run
      @descriptors = @engine.descriptors.map { |descriptor| IO.for_fd(descriptor, autoclose: false) }
      until @finishing && @waiters.empty?
        due = @runnable
        @runnable = []
        due.each { |waiter| waiter.fiber.resume(:turn) }
        turn(@runnable.empty? ? -1 : 0)
      end
    end

    # `run` returns when all tasks have ended. From any thread.
    def finish
      @finishing = true
      @engine.wake
    end

    # The rest is for the waiters.

    def ended(waiter, core)
      @waiters.delete(waiter.number)
      @cores.push(core)
    end

    def next_turn(waiter)
      @runnable.push(waiter)
    end

    def watch(waiter)
      @watching[waiter] = true unless waiter.watched.empty?
    end

    def forget(waiter)
      @watching.delete(waiter)
    end

    # Resumes the task with :timeout after so long, unless it is cancelled by the number that this answers.
    def deadline(waiter, after_ms)
      number = (@numbers += 1)
      @deadlines[number] = waiter
      Library.check(Library.fl_engine_wake_at(@engine.handle, after_ms, number))
      number
    end

    def cancel(number)
      @deadlines.delete(number)
    end

    private

    def turn(timeout_ms)
      return @engine.poll(timeout_ms, &@on_event) if @watching.empty?

      @engine.leave
      reading = @descriptors.dup
      writing = []
      @watching.each_key { |waiter| waiter.watched.each { |io, write| (write ? writing : reading) << io } }
      ready = IO.select(reading, writing, nil, timeout_ms.negative? ? nil : 0)
      @engine.poll(0, &@on_event)
      resume_ready(ready.flatten.to_h { |io| [io, true] }.compare_by_identity) if ready
    rescue SystemCallError, IOError
      resume_broken
    end

    def resume_ready(ready)
      @watching.keys.each do |waiter|
        waiter.fiber.resume(:ready) if @watching[waiter] && waiter.watched.each_key.any? { |io| ready.key?(io) }
      end
    end

    # Somebody closed a descriptor while it was watched: its task is to find out.
    def resume_broken
      @watching.keys.each do |waiter|
        waiter.fiber.resume(:ready) unless waiter.watched.each_key.all? { |io| open?(io) }
      end
    end

    def open?(io)
      !io.stat.nil?
    rescue SystemCallError, IOError
      false
    end

    def event(kind, token, address)
      case kind
      when Library::EVENT_WAKE
        waiter = @waiters[token]
        waiter.fiber.resume(:ready) if waiter && waiter.expected.nil?
      when Library::EVENT_REQUEST
        number = (@numbers += 1)
        waiter = @waiters[number] = Waiter.new(self, number, @cores.pop, @send_timeout_ms)
        waiter.start(FFI::Pointer.new(address), @application)
      when Library::EVENT_DEADLINE
        @deadlines.delete(token)&.fiber&.resume(:timeout)
      end
    end
  end
end
