# frozen_string_literal: true

module Fairlead
  # One request in the application's hands, from its arrival to its end, whatever the concurrency model.
  #
  # The running task is a variable of the fiber, so that it is right under threads and under fibers alike; a thread or
  # a fiber that the application makes has none.
  class Task
    attr_reader :request, :core
    # The WebSocket once there is one; the exception by which a call told the application that it is over.
    attr_accessor :session, :farewell

    # The task of the calling fiber, or nil.
    def self.current
      Thread.current[:fairlead_task]
    end

    # Runs the request with this address to its end, and frees it. application: answers `serve(task)`, and raises what
    # the application raises. Raises nothing.
    def self.run(address, waiter, core, application)
      task = new(Request.new(address, waiter), core)
      Thread.current[:fairlead_task] = task
      task.serve(application)
    ensure
      Thread.current[:fairlead_task] = nil
    end

    def initialize(request, core)
      @request = request
      @core = core
    end

    def serve(application)
      code = 1000
      begin
        application.serve(self)
      rescue Exception => error # rubocop:disable Lint/RescueException: `exit` and stack overflow end a request, not the server
        code = 1011
        failed(error)
      end
      @request.release(code) if @session
    ensure
      @session&.free
      @request.free
    end

    private

    # compat §2.5, row 12: a WebSocket is closed with 1011, a request gets 500; either is logged with its backtrace.
    def failed(error)
      # A WebSocket application ends by this exception when its client goes, or was refused: that is no failure.
      return if error.equal?(@farewell)

      Log.exception(error, @request.label)
      @request.respond(500, [["content-type", "text/plain"]], "Internal Server Error\n") unless @session
    rescue Error
      # Answered in part, or the client is gone.
      @request.abort("the application raised #{error.class}")
    end
  end

  # Lines of the log: standard error, which the master collects.
  module Log
    # One write for all lines, so that those of two threads do not mix.
    def self.line(text)
      $stderr.write("#{text}\n")
    end

    def self.exception(error, label)
      trace = (error.backtrace || []).map { |place| "\n    from #{place}" }.join
      line("[fairlead ruby] #{label}: #{error.message} (#{error.class})#{trace}")
    end
  end
end
