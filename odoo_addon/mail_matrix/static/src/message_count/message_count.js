import {StatInfoField, statInfoField} from "@web/views/fields/stat_info/stat_info_field";
import {formatInteger} from "@web/views/fields/formatters";
import {registry} from "@web/core/registry";
import {useBus, useService} from "@web/core/utils/hooks";
import {useRecordObserver} from "@web/model/relational_model/utils";
import {useState} from "@odoo/owl";

/**
 * How many messages a record has. Events become messages when the record is saved, after
 * the form has read it: so the number is read again then, and follows what the last
 * messages on the page say.
 */
export class MatrixMessageCount extends StatInfoField {
    setup() {
        super.setup(...arguments);
        this.orm = useService("orm");
        this.state = useState({count: null});
        useBus(this.env.bus, "MATRIX-MESSAGES", ({detail}) => {
            const {resId, resModel} = this.props.record;
            if (detail.resId === resId && detail.resModel === resModel) {
                this.state.count = detail.count;
            }
        });
        // Their page may be closed, and say nothing.
        useBus(this.env.bus, "MATRIX-POSTED", () => {
            const {resId, resModel} = this.props.record;
            this.read(resModel, resId);
        });
        useRecordObserver((record) => this.observe(record));
    }

    observe({resId, resModel, data}) {
        const before = this.seen;
        this.seen = `${resId} ${data.write_date}`;
        if (before === this.seen) {
            return;
        }
        this.state.count = null;
        if (before && resId) {
            this.read(resModel, resId);
        }
    }

    async read(resModel, resId) {
        if (!resId) {
            return;
        }
        const {name} = this.props;
        let found = null;
        try {
            [found] = await this.orm.silent.read(resModel, [resId], [name]);
        } catch {
            // Nobody asked for this: the number stays as it is.
            return;
        }
        if (found && this.props.record.resId === resId) {
            this.state.count = found[name];
        }
    }

    get formattedValue() {
        const {count} = this.state;
        return count === null ? super.formattedValue : formatInteger(count);
    }
}

registry.category("fields").add("matrix_message_count", {
    ...statInfoField,
    component: MatrixMessageCount,
    fieldDependencies: [{name: "write_date", type: "datetime"}],
});
