# frozen_string_literal: true

require "socket"
require "fairlead/rack/input"
require "fairlead/rack/response"

module Fairlead
  # A Rack application, of version 2 or 3 of its specification, served task by task.
  class Rack
    NODE = Socket.gethostname.freeze

    class << self
      # Requests begun in this process.
      attr_accessor :requests
    end
    self.requests = 0

    # The application of a config.ru, made by Rack::Builder. Raises Error without Rack.
    def self.load(path, **process)
      begin
        require "rack"
        require "rack/builder"
      rescue LoadError
        raise Error, "Rack is not installed: install Debian's package ruby-rack, or the gem rack"
      end
      parsed = ::Rack::Builder.parse_file(path)
      # Rack 2 answers the application and the options of the file's first line.
      new(parsed.is_a?(Array) ? parsed.first : parsed, **process)
    end

    # multithread, multiprocess: whether the application may be called by two threads, or runs in two processes.
    def initialize(application, multithread:, multiprocess:)
      @application = application
      @fixed = {
        "rack.version" => [1, 3], "rack.multithread" => multithread, "rack.multiprocess" => multiprocess,
        "rack.run_once" => false, "rack.hijack?" => false, "rack.errors" => $stderr,
        "uwsgi.version" => UWSGI::VERSION, "uwsgi.node" => NODE, "SERVER_NAME" => NODE
      }.freeze
    end

    # Calls the application and sends what it answers. Raises what the application raises.
    def serve(task)
      Rack.requests += 1
      result = @application.call(environment(task))
      Response.new(task, *parts(task, result)).deliver
    end

    private

    def environment(task)
      env = @fixed.dup
      request = task.request
      request.each_variable { |name, value| env[name.freeze] = value }
      env["rack.url_scheme"] = request.scheme
      env["rack.input"] = Input.new(request)
      env["uwsgi.core"] = task.core
      env
    end

    # After a handshake anything goes, and nothing of it is sent (compat §1.7).
    def parts(task, result)
      return result if result.respond_to?(:to_ary) && (result = result.to_ary).size == 3
      return [200, {}, []] if task.session

      raise TypeError, "the application answered #{result.inspect[0, 80]}, and Rack wants [status, headers, body]"
    end
  end
end
